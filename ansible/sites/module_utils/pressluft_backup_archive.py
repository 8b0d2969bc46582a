"""The file that a backup is: what stands in it, and whether one that came back may be used.

A tar, compressed by zstd, with these members in this order:

    manifest.json    what it is a backup of (MANIFEST)
    database.sql     the dump, where the database is part of it
    files/code/      the live release without the links into its generation, and
    files/uploads/   the uploads, where the files are part of it

What comes back is read as something that anybody may have written: the members are checked one by one, on their way to a `tar`
that extracts them as the environment's own user.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from typing import BinaryIO, Iterator

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database.sql"
TREES = ("files/code", "files/uploads")
SCOPES = {"db": ("database",), "files": ("files",), "full": ("database", "files")}
BLOCK = 512
READ_BYTES = 1024 * 1024
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME_BYTES = 16 * 1024
# GNU's own members for names that are longer than a header's field: of the next member, and of what it links to.
LONG_NAME, LONG_LINK = b"L", b"K"


class Invalid(Exception):
    """An archive that may not be used: `args[0]` says why."""


class Member:
    """One member of an archive. `head` is its header as it stood there, with those of a long name."""

    def __init__(self, info: tarfile.TarInfo, name: str, link: str, head: bytes):
        self.name = name.rstrip("/")
        self.link = link
        self.head = head
        self.size = info.size if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
        self.is_folder = info.type == tarfile.DIRTYPE
        self.is_link = info.type == tarfile.SYMTYPE
        self.is_file = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)

    def padding(self) -> int:
        return -self.size % BLOCK


class Archive:
    """Reads the members of a tar one after another from a stream that cannot go back."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream

    def exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._stream.read(min(size, READ_BYTES))
            if not part:
                raise Invalid("the archive ends too early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def content(self, member: Member) -> Iterator[bytes]:
        """The content of the member that was given out last, in parts; without its padding, which is passed over."""
        left = member.size
        while left:
            part = self.exactly(min(left, READ_BYTES))
            left -= len(part)
            yield part
        self.exactly(member.padding())

    def members(self) -> Iterator[Member]:
        """The members up to the end of the archive. The content of each has to be read before the next."""
        head, name, link = b"", None, None
        while True:
            block = self.exactly(BLOCK)
            if block == bytes(BLOCK):
                if head or self.exactly(BLOCK) != bytes(BLOCK):
                    raise Invalid("the archive ends within a member")
                return
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise Invalid("a header that cannot be read") from error
            head += block
            if info.type in (LONG_NAME, LONG_LINK):
                if not 0 < info.size <= MAX_NAME_BYTES:
                    raise Invalid("a name that is too long")
                text = self.exactly(info.size + -info.size % BLOCK)
                head += text
                decoded = text[: info.size].rstrip(b"\0").decode("utf-8", "surrogateescape")
                if info.type == LONG_NAME:
                    name = decoded
                else:
                    link = decoded
                continue
            yield Member(info, info.name if name is None else name, info.linkname if link is None else link, head)
            head, name, link = b"", None, None


class Guard:
    """Says of each member of an archive whether it may be there. One guard sees all members, in their order."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._links: set[str] = set()

    def check(self, member: Member) -> None:
        """Raises Invalid where the member could come to lie, or lead, outside of what it belongs to."""
        name = member.name
        if "\0" in name or name in self._seen:
            raise Invalid(f"a member twice: {printable(name)}")
        self._seen.add(name)
        if len(self._seen) == 1 and name != MANIFEST:
            raise Invalid("the first member is not the manifest")
        if name in (MANIFEST, DATABASE):
            if not member.is_file:
                raise Invalid(f"{name} is not a file")
            return
        parts = name.split("/")
        if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise Invalid(f"a name that leads elsewhere: {printable(name)}")
        tree = "/".join(parts[:2])
        if tree not in TREES or name == tree and not member.is_folder:
            raise Invalid(f"a member that no backup has: {printable(name)}")
        if self._links and any("/".join(parts[:count]) in self._links for count in range(2, len(parts))):
            raise Invalid(f"a member behind a link: {printable(name)}")
        if member.is_link:
            if not leads_inside(name, member.link):
                raise Invalid(f"a link that leads out of the backup: {printable(name)}")
            self._links.add(name)
        elif not (member.is_file or member.is_folder):
            raise Invalid(f"neither a file, a folder nor a link: {printable(name)}")


def leads_inside(name: str, target: str) -> bool:
    """Whether a link called `name` stays in its tree. `name` begins with one of TREES.

    `..` may only come first: behind another name it is counted from wherever that name leads.
    """
    parts = target.split("/")
    below = [part for part in parts if part not in ("", ".")]
    while below and below[0] == "..":
        below.pop(0)
    if not target or target.startswith("/") or "\0" in target or ".." in below:
        return False
    tree = "/".join(name.split("/")[:2])
    found = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return found == tree or found.startswith(f"{tree}/")


def printable(name: str) -> str:
    return name[:200].encode("ascii", "backslashreplace").decode("ascii")


def read_manifest(text: bytes, site: str, environment: str, backup: str, scope: str) -> dict:
    """The manifest of an archive that shall be a backup of these. Raises Invalid where it is another's."""
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise Invalid("the manifest cannot be read") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Invalid("the manifest has another format")
    for key, wanted in {"site": site, "environment": environment, "backup": backup, "scope": scope}.items():
        if manifest.get(key) != wanted:
            raise Invalid(f"it is the backup of another {key}")
    parts = manifest.get("parts")
    if not isinstance(parts, dict):
        raise Invalid("the manifest names no parts")
    for part in SCOPES[scope]:
        if parts.get(part) is not True:
            raise Invalid(f"it was made without the {part}: there was none to back up")
    return manifest
