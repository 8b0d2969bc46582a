"""Whether bytes are a serialized value of PHP, and whether PHP could read it again.

A value whose texts were changed without their lengths is what a search and replace by text leaves behind; PHP then gives up on
the whole option.
"""

from __future__ import annotations

import re

_NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_SCALAR = re.compile(rb"N;|b:[01];|i:[+-]?[0-9]+;|d:(?:" + _NUMBER + rb"|-?INF|NAN);|[rR]:[0-9]+;")
_LENGTH = re.compile(rb"[0-9]+")


class _Broken(Exception):
    pass


def is_serialized(raw: bytes) -> bool:
    """What WordPress's is_serialized() takes for serialized."""
    raw = raw.strip()
    if raw == b"N;":
        return True
    if len(raw) < 4 or raw[1:2] != b":" or raw[-1:] not in (b";", b"}"):
        return False
    kind = raw[:1]
    if kind == b"s":
        return raw[-2:-1] == b'"' and re.match(rb"s:[0-9]+:", raw) is not None
    if kind in (b"a", b"O", b"E", b"C"):
        return re.match(rb".:[0-9]+:", raw) is not None
    return kind in (b"b", b"i", b"d") and re.fullmatch(rb".:[0-9.E+-]+;", raw) is not None


def parses(raw: bytes) -> bool:
    """Whether the whole of `raw` is one value, in whose texts whatever is serialized itself parses too."""
    raw = raw.strip()
    try:
        return _value(raw, 0) == len(raw)
    except (_Broken, RecursionError):
        return False


def _value(raw: bytes, at: int) -> int:
    """The end of the value that begins at `at`."""
    scalar = _SCALAR.match(raw, at)
    if scalar:
        return scalar.end()
    kind = raw[at : at + 2]
    if kind in (b"s:", b"E:"):
        text, at = _text(raw, at + 2)
        if kind == b"s:" and is_serialized(text) and not parses(text):
            raise _Broken
        return _expect(raw, at, b";")
    if kind == b"a:":
        count, at = _number(raw, at + 2)
        return _members(raw, _expect(raw, at, b":"), count)
    if kind == b"O:":
        _, at = _text(raw, at + 2)
        count, at = _number(raw, _expect(raw, at, b":"))
        return _members(raw, _expect(raw, at, b":"), count)
    if kind == b"C:":
        _, at = _text(raw, at + 2)
        length, at = _number(raw, _expect(raw, at, b":"))
        return _expect(raw, _expect(raw, at, b":{") + length, b"}")
    raise _Broken


def _members(raw: bytes, at: int, count: int) -> int:
    at = _expect(raw, at, b"{")
    for _ in range(count):
        if raw[at : at + 2] not in (b"i:", b"s:"):
            raise _Broken
        at = _value(raw, _value(raw, at))
    return _expect(raw, at, b"}")


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(raw, at)
    at = _expect(raw, at, b':"')
    return raw[at : at + length], _expect(raw, at + length, b'"')


def _number(raw: bytes, at: int) -> tuple[int, int]:
    found = _LENGTH.match(raw, at)
    if not found:
        raise _Broken
    return int(found.group()), found.end()


def _expect(raw: bytes, at: int, wanted: bytes) -> int:
    if raw[at : at + len(wanted)] != wanted:
        raise _Broken
    return at + len(wanted)
