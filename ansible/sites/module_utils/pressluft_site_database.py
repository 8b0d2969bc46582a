"""The MariaDB of an environment: each generation has a database and a user of the same name, limited to it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess

from ansible.module_utils.pressluft_site import CommandError, Environment, Generation, SiteError, run, start
from ansible.module_utils.pressluft_site_serialized import is_serialized, parses

# In the sandbox and in binary mode the client runs no command of its own, such as `\!`: this is root's, and names that stand in
# statements are a site's choice.
CLIENT = ["mariadb", "--no-defaults", "--sandbox", "--binary-mode", "--protocol=socket", "--default-character-set=utf8mb4"]
ROWS = ["--batch", "--raw", "--skip-column-names"]
TEXT_TYPES = "'char','varchar','tinytext','text','mediumtext','longtext','tinyblob','blob','mediumblob','longblob','json'"


def quote(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0").replace("\n", "\\n") + "'"


def name(text: str) -> str:
    """A name of a table or a column as SQL writes it. PHP chooses these: a backquote may stand in them."""
    return "`" + text.replace("`", "``") + "`"


def sql(statements: str) -> list[list[str]]:
    """Runs statements as root over the socket, by standard input; the rows of their results."""
    out = run([*CLIENT, *ROWS], input=statements).stdout
    return [line.split("\t") for line in out.splitlines()]


def create_database(generation: Generation, password: str) -> None:
    """The generation's empty database and its user. What was there by these names is gone."""
    database = generation.database
    sql(f"DROP DATABASE IF EXISTS `{database}`; CREATE DATABASE `{database}` CHARACTER SET utf8mb4;")
    ensure_database_user(generation, password)


def ensure_database_user(generation: Generation, password: str) -> None:
    """The user of a generation's database, with that password and with no right elsewhere."""
    user = generation.database
    # An underscore is a wildcard in a grant.
    pattern = user.replace("_", "\\_")
    sql(
        f"CREATE OR REPLACE USER '{user}'@'localhost' IDENTIFIED BY {quote(password)};"
        f"GRANT ALL ON `{pattern}`.* TO '{user}'@'localhost';"
    )


def drop_database(generation: Generation) -> None:
    database = generation.database
    sql(f"DROP DATABASE IF EXISTS `{database}`; DROP USER IF EXISTS '{database}'@'localhost';")


def databases_of(environment: Environment) -> list[str]:
    """The names of all databases and database users of an environment, whatever generation they belong to."""
    like = quote(environment.user.replace("_", "\\_") + "\\_%")
    rows = sql(
        f"SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE {like}"
        f" UNION SELECT user FROM mysql.global_priv WHERE user LIKE {like};"
    )
    pattern = re.compile(re.escape(environment.user) + r"_[0-9]{14}")
    return sorted(row[0] for row in rows if pattern.fullmatch(row[0]))


@contextlib.contextmanager
def credentials(generation: Generation, password: str):
    """The number of a descriptor of a file in memory with which a client is the generation's user.

    A client takes it as `--defaults-file=/proc/self/fd/<number>`, its first argument. Nothing is left by a kill.
    """
    entry = pwd.getpwnam(generation.environment.user)
    handle = os.memfd_create("pressluft")
    try:
        os.fchmod(handle, 0o600)
        os.fchown(handle, entry.pw_uid, entry.pw_gid)
        escaped = password.replace("\\", "\\\\").replace('"', '\\"')
        options = [f"user={generation.database}", f'password="{escaped}"', "protocol=socket", "default-character-set=utf8mb4"]
        os.write(handle, "\n".join(["[client]", *options, ""]).encode())
        yield handle
    finally:
        os.close(handle)


def start_as_user(generation: Generation, password: str, argv: list[str], **streams) -> subprocess.Popen:
    """Starts a client (`mariadb`, `mariadb-dump`) as the generation's database user and the environment's system user."""
    with credentials(generation, password) as handle:
        argv = [argv[0], f"--defaults-file=/proc/self/fd/{handle}", *argv[1:]]
        return start(argv, user=generation.environment.user, fds=(handle,), **streams)


def as_user(generation: Generation, password: str, argv: list[str], input: str | None = None, check: bool = True):
    """Runs a client to its end as `start_as_user` does; a CompletedProcess with text."""
    pipe = subprocess.PIPE
    streams = {"stdin": pipe if input is not None else subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
    process = start_as_user(generation, password, argv, text=True, errors="replace", **streams)
    stdout, stderr = process.communicate(input)
    if check and process.returncode != 0:
        raise CommandError(argv, process.returncode, stderr)
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def query(generation: Generation, password: str, statements: str) -> list[list[str]]:
    """The rows of statements that run as the generation's user in its database."""
    out = as_user(generation, password, ["mariadb", *ROWS, generation.database], input=statements).stdout
    return [line.split("\t") for line in out.splitlines()]


def site_address(generation: Generation, password: str) -> str | None:
    """`siteurl` as the database has it; None where WordPress is not installed or the database is not there."""
    statement = (
        "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"
        " AND EXISTS (SELECT 1 FROM wp_users) AND EXISTS (SELECT 1 FROM wp_options WHERE option_name = 'db_version');"
    )
    done = as_user(generation, password, ["mariadb", *ROWS, generation.database], input=statement, check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


def text_columns(database: str) -> list[list[str]]:
    """Table and column of everything in a generation's database that may hold text."""
    if not re.fullmatch(r"pl_[0-9a-f]{12}_[0-9]{14}", database):
        raise SiteError(f"not the database of a generation: {database!r}")
    # In hexadecimal: a name may hold a tab or the end of a line, between which the rows are told apart.
    rows = sql(
        "SELECT HEX(table_name), HEX(column_name) FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name)"
        f" WHERE table_schema = '{database}' AND table_type = 'BASE TABLE' AND data_type IN ({TEXT_TYPES})"
        " ORDER BY table_name, ordinal_position;"
    )
    return [[bytes.fromhex(cell).decode() for cell in row] for row in rows]


def has_rare_serialized(database: str, needle: str) -> bool:
    """Whether `needle` stands in a serialized value of a kind that WP-CLI's quick way takes for plain text.

    It knows arrays and objects; a text, an enumeration, an object with a format of its own, or space before the value it would
    replace without the length.
    """
    rare = "REGEXP '^([[:space:]]*[sCE]|[[:space:]]+[aO]):[0-9]+:'"
    parts = [
        f"EXISTS (SELECT 1 FROM {name(database)}.{name(table)}"
        f" WHERE {name(column)} {rare} AND LOCATE({quote(needle)}, {name(column)}) > 0)"
        for table, column in text_columns(database)
    ]
    return bool(parts) and sql(f"SELECT {' OR '.join(parts)};") == [["1"]]


def scan_database(database: str, needles: list[str], serialized: bool = True) -> list[str]:
    """What is wrong with the texts of a database, as `table.column: count what`; empty where all is well.

    Wrong is a value that holds one of `needles`, and a serialized value of PHP that does not parse. Reads as root.
    """
    columns = text_columns(database)
    wrong = []
    statements = []
    for number, (table, column) in enumerate(columns):
        cell, column = f"{name(database)}.{name(table)}", name(column)
        for needle in needles:
            statements.append(f"SELECT {number}, 'n', COUNT(*) FROM {cell} WHERE LOCATE({quote(needle)}, {column}) > 0")
        if serialized:
            # A first look that lets through at least everything that may be a serialized array, object or text.
            statements.append(f"SELECT {number}, 's', HEX({column}) FROM {cell} WHERE {column} REGEXP '^[aOCEs]:[0-9]+:'")
    broken: dict[int, int] = {}
    for row in sql(";\n".join(statements) + ";") if statements else []:
        number, kind, value = int(row[0]), row[1], row[2]
        if kind == "n" and value != "0":
            wrong.append(f"{'.'.join(columns[number])}: {value} with an address of the source")
        if kind == "s":
            raw = bytes.fromhex(value)
            if is_serialized(raw) and not parses(raw):
                broken[number] = broken.get(number, 0) + 1
    wrong += [f"{'.'.join(columns[number])}: {count} serialized that do not parse" for number, count in broken.items()]
    return wrong
