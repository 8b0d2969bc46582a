"""Reads a database dump statement by statement, without keeping more than one statement in memory.

A dump is text that somebody may have changed, so nothing is searched in it: it is read as the server reads it, with string
literals, quoted names, comments, versioned comments (`/*!50003 ... */`, `/*M!100100 ... */`: what they hold is run) and the
client's `DELIMITER`. What a statement may say is decided in `pressluft_sql_rules`; here is only how it is read.

Reading must not differ from the server's. What could make it differ is refused: other escapes (`sql_mode`) and other
encodings in the rules, and a versioned comment with a literal that could end it, here.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Iterator, NamedTuple

# The server's own limit (max_allowed_packet of a node is 64 MiB) with room for a differently set up server.
MAX_STATEMENT_BYTES = 256 * 1024 * 1024
READ_BYTES = 4 * 1024 * 1024
# Many rows are one token, so this is far more than any statement of a dump has.
MAX_TOKENS = 1_000_000

# The client's command that newer dumps begin with. Imports set the mode themselves.
SANDBOX_LINE = re.compile(rb"/\*M!999999\\- enable the sandbox mode \*/[^\S\n]*(?:\n|\Z)")
DELIMITER_LINE = re.compile(rb"[ \t]*delimiter[ \t]+(\S+)[ \t]*\r?(?:\n|\Z)", re.IGNORECASE)

# In these a possessive group (`(...)*+`) never holds a choice: Python before 3.11.5 goes on from the wrong place behind a choice
# that failed. A greedy one would keep a place to go back to for every backslash of a literal, and needs a bound instead.
STRING = rb"'[^'\\]*+(?:\\[\x00-\xff][^'\\]*+)*+'"
LITERAL = rb"(?:" + STRING + rb"|NULL|0x[0-9A-Fa-f]++|-?[0-9][0-9.]*+(?:[eE][-+]?[0-9]++)?)"
# Nearly all of a dump is rows of literals. They are passed over many at a time: a Python step for each would take minutes.
ROWS = re.compile(rb"(?:[\s,]*+\(" + LITERAL + rb"(?:," + LITERAL + rb"){0,4096}\)){1,512}")

TOKEN = re.compile(
    rb"""
      (?P<space>\s++)
    | (?P<string>'[^'\\]*+(?:\\[\x00-\xff][^'\\]*+)*+' | "[^"\\]*+(?:\\[\x00-\xff][^"\\]*+)*+")
    | (?P<name>`[^`]*+(?:``[^`]*+){0,64}`)
    | (?P<comment>(?:--(?=[\s\x00-\x1f])|\#)[^\n]*+(?:\n|\Z))
    | (?P<opening>/\*M?![0-9]*+)
    | (?P<closing>\*/)
    | (?P<number>(?:[0-9]++\.[0-9]*+|\.?[0-9]++)(?:[eE][-+]?[0-9]++)?(?![A-Za-z0-9_$\x80-\xff]))
    | (?P<word>[A-Za-z0-9_$\x80-\xff]++)
    | (?P<mark>[^\\'"`\x00])
    """,
    re.VERBOSE,
)
QUOTES = (b"'", b'"', b"`")
SPACE = re.compile(rb"\s*")


class Unreadable(Exception):
    """The text cannot be read as a dump: `args[0]` says why. No literal is quoted in it."""


class Token(NamedTuple):
    """A part of a statement. `kind` is string, name, number, word, mark or rows (many rows of literals at once); comments
    and white space are left out, and so are the marks of versioned comments. `start` and `end` are offsets in the statement."""

    kind: str
    text: bytes
    start: int
    end: int


class Statement(NamedTuple):
    """A statement as it was written, without its delimiter, and its tokens."""

    text: bytes
    tokens: list[Token]


def unquoted(token: Token) -> str:
    """What a name is called. Undecodable bytes are replaced: they equal nothing."""
    text = token.text
    if token.kind == "name":
        text = text[1:-1].replace(b"``", b"`")
    return text.decode("utf-8", "replace")


def statements(stream: BinaryIO) -> Iterator[Statement]:
    """The statements of the dump in `stream`. Raises Unreadable."""
    return Reader(stream).statements()


class Reader:
    """Holds what was read of `stream` and not yet given out. Positions are counted from the statement's beginning."""

    def __init__(self, stream: BinaryIO, read_bytes: int = READ_BYTES):
        self._stream = stream
        self._read_bytes = read_bytes
        self._buffer = b""
        self._begin = 0
        self._ended = False
        self._delimiter = b";"

    def _more(self) -> bool:
        """Reads on; whether there was more. The amount grows with what is held, so that a long literal is not read over and over."""
        if self._ended:
            return False
        held = self._buffer[self._begin :]
        if len(held) > MAX_STATEMENT_BYTES:
            raise Unreadable(f"a statement is longer than {MAX_STATEMENT_BYTES >> 20} MiB")
        chunk = self._stream.read(max(self._read_bytes, len(held)))
        self._ended = not chunk
        self._buffer, self._begin = held + chunk, 0
        return bool(chunk)

    def _left(self, position: int) -> int:
        return len(self._buffer) - self._begin - position

    def statements(self) -> Iterator[Statement]:
        while True:
            self._skip_client_lines()
            tokens, length = self._read_statement()
            statement = Statement(self._buffer[self._begin : self._begin + length], tokens)
            self._begin += length + len(self._delimiter)
            if tokens:
                yield statement
            elif self._ended and self._left(0) <= 0:
                return

    def _skip_client_lines(self) -> None:
        """Passes over white space and the lines that are meant for the client, at the beginning of a statement."""
        while True:
            self._begin = SPACE.match(self._buffer, self._begin).end()
            # A line of the client is short; to be recognised it has to be there whole.
            if self._left(0) < 256 and b"\n" not in self._buffer[self._begin :] and self._more():
                continue
            line = SANDBOX_LINE.match(self._buffer, self._begin)
            if line is None:
                line = DELIMITER_LINE.match(self._buffer, self._begin)
                if line is None:
                    return
                self._delimiter = line[1]
                if not re.fullmatch(rb"[;$/|]{1,8}", self._delimiter):
                    raise Unreadable("an unusual delimiter")
            self._begin = line.end()

    def _read_statement(self) -> tuple[list[Token], int]:
        """The tokens of the next statement and its length; none where there is only a comment, or nothing, up to the end."""
        tokens: list[Token] = []
        position = 0
        versioned = False
        while True:
            if self._left(position) < len(self._delimiter) and self._more():
                continue
            if self._left(position) <= 0:
                if tokens or versioned:
                    raise Unreadable("the last statement does not end")
                return tokens, position
            if self._buffer.startswith(self._delimiter, self._begin + position):
                if versioned:
                    raise Unreadable("a versioned comment goes beyond its statement")
                return tokens, position
            token = self._token(position, may_be_followed_by_rows(tokens))
            position = token.end
            if token.kind == "opening":
                if versioned:
                    raise Unreadable("a versioned comment within another")
                versioned = True
            elif token.kind == "closing":
                if not versioned:
                    raise Unreadable("the end of a comment without its beginning")
                versioned = False
            elif token.kind not in ("space", "comment"):
                if versioned and token.kind in ("string", "name", "rows") and b"*/" in token.text:
                    raise Unreadable("a literal within a versioned comment could end it")
                tokens.append(token)
                if len(tokens) > MAX_TOKENS:
                    raise Unreadable("a statement of too many parts")

    def _token(self, position: int, rows: bool) -> Token:
        """The token at `position`, read on until it is whole."""
        while True:
            at = self._begin + position
            if self._buffer.startswith(b"/*", at) and not self._buffer.startswith((b"/*!", b"/*M!"), at):
                end = self._buffer.find(b"*/", at + 2)
                if end >= 0:
                    return Token("comment", b"", position, position + end + 2 - at)
                if not self._more():
                    raise Unreadable("a comment does not end")
                continue
            if rows and (found := ROWS.match(self._buffer, at)):
                break
            # A row that is cut is read again whole, and not token by token.
            if rows and self._buffer.find(self._delimiter + b"\n", at) < 0 and self._more():
                continue
            found = TOKEN.match(self._buffer, at)
            # A few bytes are looked ahead at.
            cut = self._buffer[at : at + 1] in QUOTES if found is None else found.end() > len(self._buffer) - 4
            if not cut or not self._more():
                break
        if found is None:
            raise Unreadable(self._why(at))
        return Token(found.lastgroup or "rows", found.group(), position, position + found.end() - at)

    def _why(self, at: int) -> str:
        first = self._buffer[at : at + 1]
        if first in QUOTES:
            return "a literal does not end"
        return "a command for the client" if first == b"\\" else "a byte that no statement has"


def may_be_followed_by_rows(tokens: list[Token]) -> bool:
    """Whether rows of literals may come next: behind VALUES of an INSERT, and behind other rows."""
    if not tokens or tokens[0].text.upper() not in (b"INSERT", b"REPLACE"):
        return False
    return tokens[-1].kind == "rows" or tokens[-1].text.upper() in (b"VALUES", b"VALUE", b")")
