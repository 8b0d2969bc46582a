"""What a statement of a backup's dump may say, and how it is sent to the server.

A dump of one database creates tables, views, triggers and routines, fills tables with literals, and sets a few variables of its
own session. Whatever else a statement is, it is refused: another database's name, users and rights, files of the server, global
settings, the client's commands. The server would refuse most of it too, since an import runs as a user who reaches one database
alone; a dump that tries is not ours, and nothing of it shall run.
"""

from __future__ import annotations

import re

from ansible.module_utils.pressluft_sql import Statement, Token, unquoted


class Refused(Exception):
    """A statement that no dump of one database has: `args[0]` says why, without a literal of it."""


ENGINES = {"INNODB", "MYISAM", "ARIA", "MEMORY", "ARCHIVE", "CSV"}
CREATED = {"TABLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "SEQUENCE"}
# Words of statements that reach beyond a database. As names they stand in backquotes, or behind a dot.
NEVER = {
    *("OUTFILE", "DUMPFILE", "INFILE", "LOAD_FILE", "GRANT", "REVOKE", "INSTALL", "UNINSTALL", "PREPARE", "EXECUTE", "SONAME"),
    *("SHUTDOWN", "KILL", "GLOBAL", "PERSIST", "FLUSH", "CHANGE_MASTER", "BINLOG"),
}
OTHER_THINGS = {"DATABASE", "SCHEMA", "USER", "ROLE", "SERVER", "EVENT", "PACKAGE", "TABLESPACE", "LOGFILE"}
# Behind these a table or a routine is named; everywhere else `a.b` is a column.
BEFORE_A_TABLE = {
    *(
        "FROM",
        "JOIN",
        "STRAIGHT_JOIN",
        "INTO",
        "UPDATE",
        "TABLE",
        "TABLES",
        "CALL",
        "REFERENCES",
        "VIEW",
        "TRIGGER",
        "PROCEDURE",
    ),
    *("FUNCTION", "EXISTS", "TRUNCATE", "FOR", "DELETE", "IGNORE", "LOW_PRIORITY", "QUICK", "DESCRIBE", "USING"),
}
ENDS_A_LIST_OF_TABLES = {
    "WHERE",
    "SET",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "SELECT",
    "UNION",
    "VALUES",
    "DO",
    "THEN",
    "BEGIN",
}
# `FROM` in these is no clause: EXTRACT(YEAR FROM p.post_date).
FUNCTIONS_WITH_FROM = {"EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "MID"}
# In these a backslash is never the second byte of a letter, so that everyone reads the same literals.
CHARACTER_SETS = r"(utf8|utf8mb3|utf8mb4|latin1|ascii|binary)(_[a-z0-9_]+)?"
SETTINGS = {
    *("CHARACTER_SET_CLIENT", "CHARACTER_SET_RESULTS", "CHARACTER_SET_CONNECTION", "COLLATION_CONNECTION", "TIME_ZONE"),
    *("UNIQUE_CHECKS", "FOREIGN_KEY_CHECKS", "SQL_MODE", "SQL_NOTES", "NOTE_VERBOSITY", "AUTOCOMMIT", "SQL_QUOTE_SHOW_CREATE"),
}
# Modes under which quotes and backslashes mean something else, alone or as part of a combination.
MODES = re.compile(rb"ANSI|BACKSLASH|ORACLE|DB2|MSSQL|MAXDB|POSTGRESQL", re.IGNORECASE)


def checked(statement: Statement) -> bytes:
    """The statement as it may be sent: as it is, with the importing user in the place of a definer. Raises Refused."""
    tokens = statement.tokens
    verb = word(tokens, 0)
    if verb in ("INSERT", "REPLACE"):
        check_rows(tokens)
        return statement.text
    check_words(tokens)
    if verb == "CREATE":
        return check_create(statement)
    if verb == "SET":
        check_set(tokens)
    elif verb == "DROP" and word(tokens, 1) in CREATED or verb == "ALTER" and word(tokens, 1) in ("TABLE", "SEQUENCE"):
        check_plain(tokens)
    elif verb in ("LOCK", "UNLOCK") and word(tokens, 1) in ("TABLES", "TABLE") or (verb, word(tokens, 1)) == ("DO", "SETVAL"):
        check_plain(tokens)
    elif [word(tokens, place) for place in range(len(tokens))] not in (["COMMIT"], ["START", "TRANSACTION"], ["BEGIN"]):
        raise Refused(f"a statement that no dump of one database has: {first_words(tokens)}")
    return statement.text


def word(tokens: list[Token], place: int) -> str:
    """The bare word at that place in capitals; empty where there is none."""
    return tokens[place].text.upper().decode("latin-1") if 0 <= place < len(tokens) and tokens[place].kind == "word" else ""


def mark(tokens: list[Token], place: int) -> str:
    return tokens[place].text.decode("latin-1") if 0 <= place < len(tokens) and tokens[place].kind == "mark" else ""


def is_name(tokens: list[Token], place: int) -> bool:
    return 0 <= place < len(tokens) and tokens[place].kind in ("name", "word")


def first_words(tokens: list[Token]) -> str:
    # Bare words only: names and literals may be anybody's data.
    words = [word(tokens, place)[:24] for place in range(min(4, len(tokens)))]
    return " ".join(re.sub(r"[^A-Z_]", "?", each) or "..." for each in words)


def check_rows(tokens: list[Token]) -> None:
    """INSERT INTO `table` [(columns)] VALUES rows of literals."""
    place = 1
    while word(tokens, place) in ("LOW_PRIORITY", "DELAYED", "IGNORE", "INTO"):
        place += 1
    if not is_name(tokens, place):
        raise Refused("an INSERT without the name of a table")
    place += 1
    if mark(tokens, place) == "(":
        place += 1
        while is_name(tokens, place) or mark(tokens, place) == ",":
            place += 1
        if mark(tokens, place) != ")":
            raise Refused("an INSERT with something else than names of columns")
        place += 1
    if starts_with_a_dot(tokens, place):
        raise Refused("a table of another database is named")
    if word(tokens, place) not in ("VALUES", "VALUE"):
        raise Refused("an INSERT of something else than VALUES")
    for place in range(place + 1, len(tokens)):
        token = tokens[place]
        if token.kind in ("rows", "string", "number"):
            continue
        if token.kind == "mark" and token.text in (b"(", b")", b",", b"-", b"+"):
            continue
        if token.kind == "word" and re.fullmatch(
            rb"NULL|DEFAULT|TRUE|FALSE|[XBN]|0[xb][0-9A-F]*|_[a-z0-9]+", token.text, re.IGNORECASE
        ):
            continue
        raise Refused("an INSERT of something else than literals")


def starts_with_a_dot(tokens: list[Token], place: int) -> bool:
    # `a.5b` and `a.5` are read with the dot as part of a number or as a mark.
    return mark(tokens, place) == "." or (
        0 < place < len(tokens)
        and tokens[place].kind == "number"
        and tokens[place].text[:1] == b"."
        and is_name(tokens, place - 1)
    )


def check_words(tokens: list[Token]) -> None:
    """What no statement may say, whatever it is."""
    for place in range(len(tokens)):
        said = word(tokens, place)
        if not said or mark(tokens, place - 1) in (".", "@"):
            continue
        if said in NEVER:
            raise Refused(f"{said} in {first_words(tokens)}")
        if said in ("CREATE", "ALTER", "DROP", "RENAME"):
            other = next((word(tokens, place + n) for n in (1, 2, 3) if word(tokens, place + n) not in ("OR", "REPLACE")), "")
            if other in OTHER_THINGS:
                raise Refused(f"{said} {other}")


def check_plain(tokens: list[Token]) -> None:
    """A statement that names tables and columns, each by one name."""
    for place in range(len(tokens)):
        if starts_with_a_dot(tokens, place):
            raise Refused(f"a table of another database is named in {first_words(tokens)}")
        said = word(tokens, place)
        if said in ("DIRECTORY", "CONNECTION") and (
            mark(tokens, place + 1) == "=" or place + 1 < len(tokens) and tokens[place + 1].kind == "string"
        ):
            raise Refused(f"{said} of a table")
        if said in ("SELECT", "LIKE") and word(tokens, 0) == "CREATE":
            raise Refused(f"CREATE TABLE with {said}")
        if said == "ENGINE":
            at = place + 1 + (mark(tokens, place + 1) == "=")
            if at >= len(tokens) or unquoted(tokens[at]).strip("'\"").upper() not in ENGINES:
                raise Refused("a table's engine that reaches beyond the database")


def check_create(statement: Statement) -> bytes:
    """CREATE of a table, view, trigger or routine; its text with the importing user as the definer."""
    tokens = statement.tokens
    definer: tuple[int, int] | None = None
    place = 1
    while word(tokens, place) not in CREATED:
        if word(tokens, place) == "DEFINER" and mark(tokens, place + 1) == "=":
            last = place + 2
            if mark(tokens, last + 1) == "@":
                last += 2
            elif mark(tokens, last + 1) == "(" and mark(tokens, last + 2) == ")":
                last += 2
            if last >= len(tokens) or definer is not None:
                raise Refused("a definer that cannot be read")
            definer = (tokens[place + 2].start, tokens[last].end)
            place = last + 1
        elif word(tokens, place) == "ALGORITHM" and mark(tokens, place + 1) == "=":
            place += 3
        elif word(tokens, place) in ("OR", "REPLACE", "SQL", "SECURITY", "DEFINER", "INVOKER"):
            place += 1
        else:
            raise Refused(f"a statement that no dump of one database has: {first_words(tokens)}")
    if word(tokens, place) in ("TABLE", "SEQUENCE"):
        check_plain(tokens)
    else:
        check_body(tokens)
    if definer is None:
        return statement.text
    return statement.text[: definer[0]] + b"CURRENT_USER" + statement.text[definer[1] :]


def check_body(tokens: list[Token]) -> None:
    """A view, trigger or routine: `a.b` may be a column of a table, or a table of a database, by where it stands."""
    functions: list[str] = []
    in_list = False
    for place in range(len(tokens)):
        said, sign = word(tokens, place), mark(tokens, place)
        if sign == "(":
            functions.append(word(tokens, place - 1))
        elif sign == ")" and functions:
            functions.pop()
        elif said in ("FROM", "JOIN", "UPDATE"):
            in_list = not (functions and functions[-1] in FUNCTIONS_WITH_FROM)
        elif said in ENDS_A_LIST_OF_TABLES or sign == ";":
            in_list = False
        elif said == "USE" and (
            place == 0 or mark(tokens, place - 1) == ";" or word(tokens, place - 1) in ("BEGIN", "THEN", "ELSE", "DO")
        ):
            raise Refused("USE within a routine")
        if not starts_with_a_dot(tokens, place) or not is_name(tokens, place - 1):
            continue
        before = place - 2
        while mark(tokens, before) == "(" or (mark(tokens, before) == "," and in_list):
            if mark(tokens, before) == ",":
                raise Refused("a table of another database is named in a list of tables")
            before -= 1
        led = word(tokens, before)
        from_function = led == "FROM" and functions and functions[-1] in FUNCTIONS_WITH_FROM
        trigger_on = led == "ON" and word(tokens, before - 1) in ("INSERT", "UPDATE", "DELETE")
        if (
            led in BEFORE_A_TABLE and not from_function and not (led == "UPDATE" and word(tokens, before - 1) == "KEY")
        ) or trigger_on:
            raise Refused(f"a table or routine of another database is named behind {led}")
        if starts_with_a_dot(tokens, place + 2) or mark(tokens, place + 2) == "(":
            raise Refused("a name with its database")


def check_set(tokens: list[Token]) -> None:
    """SET of variables of the session that a dump sets, to values that leave the reading of literals as it is."""
    if word(tokens, 1) == "NAMES":
        if len(tokens) != 3 or not is_setting(tokens, 2, "CHARACTER_SET_CLIENT"):
            raise Refused("SET NAMES of an encoding that is not read here")
        return
    place = 1
    while True:
        while word(tokens, place) in ("SESSION", "LOCAL"):
            place += 1
        own = mark(tokens, place) == "@"
        name = word(tokens, place + own)
        if not name or not own and name not in SETTINGS or mark(tokens, place + own + 1) not in ("=", ":"):
            raise Refused("SET of a variable that no dump sets")
        place += own + 1 + (2 if mark(tokens, place + own + 1) == ":" else 1)
        if mark(tokens, place) == "@":
            # A variable of the session: what was put into it went through here too.
            place += 1 + (mark(tokens, place + 1) == "@")
            if not word(tokens, place):
                raise Refused("SET to something else than a value")
        elif not is_setting(tokens, place, "" if own else name):
            raise Refused(f"SET {name} to something that changes how the dump is read")
        place += 1
        if place >= len(tokens):
            return
        if mark(tokens, place) != ",":
            raise Refused("SET to something else than a value")
        place += 1


def is_setting(tokens: list[Token], place: int, name: str) -> bool:
    """Whether a value may be given to the variable, or to a variable of one's own (an empty name)."""
    if place >= len(tokens) or tokens[place].kind not in ("word", "string", "number"):
        return False
    text = tokens[place].text.strip(b"'\"")
    if MODES.search(text) or not re.fullmatch(rb"[A-Za-z0-9_,:+/ -]*", text):
        return False
    if name.startswith(("CHARACTER_SET", "COLLATION")):
        return re.fullmatch(CHARACTER_SETS.encode(), text, re.IGNORECASE) is not None
    # A number is a set of modes too.
    return tokens[place].kind == "string" or text.upper() in (b"0", b"1", b"2", b"3", b"ON", b"OFF", b"NULL", b"DEFAULT")
