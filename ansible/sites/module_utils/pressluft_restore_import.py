"""Fills a new generation: files and database from an archive, or from what is live where the archive has only the other half.

Nothing that is live is written to. The files are extracted as the environment's user, the database is filled as the user of the
new generation's database, and both at once: they wait for different things.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets as random
import signal
import subprocess
import tempfile
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import BinaryIO, Iterator

from ansible.module_utils.pressluft_backup_archive import (
    BLOCK,
    DATABASE,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Archive,
    Guard,
    Invalid,
    read_manifest,
)
from ansible.module_utils.pressluft_backup_make import said_in
from ansible.module_utils.pressluft_site import CommandError, Generation, SiteError, last_lines, run, start
from ansible.module_utils.pressluft_site_database import start_as_user
from ansible.module_utils.pressluft_site_dump import broken_views, dump_command
from ansible.module_utils.pressluft_sql import Unreadable, statements
from ansible.module_utils.pressluft_sql_rules import Refused, checked

READ_BYTES = 1024 * 1024
# As much as the kernel gives: who writes and who reads wait less for each other.
PIPE = {"pipesize": 1024 * 1024}


class Processes:
    """What runs for a restore, so that the failure of one half ends the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[subprocess.Popen] = []
        self._ended = False

    def add(self, process: subprocess.Popen) -> subprocess.Popen:
        with self._lock:
            self._all.append(process)
            if self._ended:
                process.kill()
        return process

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for process in self._all:
                if process.poll() is None:
                    process.kill()


def check_file(path: str, size: int, sha256: str) -> None:
    """Raises Invalid where the staged file is not the one that was stored."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise Invalid(f"the archive has {found} bytes, not {size}")
            digest = hashlib.sha256()
            while part := file.read(READ_BYTES):
                digest.update(part)
    except FileNotFoundError as error:
        raise Invalid("the archive is not on the node") from error
    if digest.hexdigest() != sha256:
        raise Invalid("the archive has another checksum than the backup")


@contextlib.contextmanager
def unpacked(path: str, processes: Processes, to_the_end: bool) -> Iterator[BinaryIO]:
    """The tar in an archive, as a stream. `to_the_end`: it has to be intact up to there, else reading may stop anywhere."""
    with tempfile.TemporaryFile() as errors:
        zstd = processes.add(
            start(["zstd", "-q", "-dc", "--", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, **PIPE)
        )
        try:
            yield zstd.stdout
            # What follows the end of a tar is padding.
            while to_the_end and zstd.stdout.read(READ_BYTES):
                pass
        except Invalid as error:
            zstd.stdout.close()
            if zstd.wait() not in (0, -signal.SIGPIPE):
                raise Invalid(f"the archive cannot be unpacked: {last_lines(said_in(errors))}") from error
            raise
        finally:
            zstd.stdout.close()
            status = zstd.wait()
        if to_the_end and status != 0:
            raise Invalid(f"the archive cannot be unpacked: {last_lines(said_in(errors))}")


def manifest_of(path: str, site: str, environment: str, backup: str, scope: str) -> dict:
    """The manifest of an archive that has to be this backup. Raises Invalid."""
    with unpacked(path, Processes(), to_the_end=False) as stream:
        archive = Archive(stream)
        first = next(archive.members(), None)
        if first is None or first.name != MANIFEST or first.size > MAX_MANIFEST_BYTES:
            raise Invalid("the first member is not the manifest")
        return read_manifest(b"".join(archive.content(first)), site, environment, backup, scope)


class Parts:
    """The parts of a member's content as a file that can be read."""

    def __init__(self, parts: Iterator[bytes]):
        self._parts = parts
        self._held = b""

    def read(self, size: int) -> bytes:
        while len(self._held) < size and (part := next(self._parts, b"")):
            self._held += part
        given, self._held = self._held[:size], self._held[size:]
        return given


def extract_files(path: str, target: Generation, processes: Processes) -> None:
    """Code and uploads out of the archive, each member checked before `tar` sees it."""
    code, uploads = target.release.lstrip("/"), target.uploads.lstrip("/")
    argv = [
        # From the root folder: those on the way to a generation may not be listed by that user, which tar wants of its own.
        *("tar", "--extract", "--directory=/", "--no-same-owner", "--no-same-permissions", "--no-overwrite-dir"),
        f"--transform=flags=r;s,^files/code,{code},;s,^files/uploads,{uploads},",
    ]
    with tempfile.TemporaryFile() as errors:
        tar = processes.add(
            start(argv, user=target.environment.user, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, **PIPE)
        )
        try:
            with unpacked(path, processes, to_the_end=True) as stream:
                relay_files(Archive(stream), tar.stdin)
            tar.stdin.close()
        except BrokenPipeError:
            # tar says below why it has ended.
            pass
        finally:
            with contextlib.suppress(BrokenPipeError):
                tar.stdin.close()
            status = tar.wait()
        if status != 0:
            raise CommandError(argv, status, said_in(errors))


def relay_files(archive: Archive, sink: BinaryIO) -> None:
    """Hands on the members below `files/` as they are, and passes over the others."""
    guard = Guard()
    for member in archive.members():
        guard.check(member)
        handed_on = member.name not in (MANIFEST, DATABASE)
        if handed_on:
            sink.write(member.head)
        for part in archive.content(member):
            if handed_on:
                sink.write(part)
        if handed_on:
            sink.write(bytes(member.padding()))
    sink.write(bytes(2 * BLOCK))


def check_members(path: str) -> None:
    """Reads an archive of which only the database is wanted up to its end."""
    with unpacked(path, Processes(), to_the_end=True) as stream, open(os.devnull, "wb") as nowhere:
        relay_files(Archive(stream), nowhere)


def import_archive(path: str, target: Generation, password: str, processes: Processes) -> None:
    """The database out of the archive."""
    with unpacked(path, processes, to_the_end=False) as stream:
        archive = Archive(stream)
        guard = Guard()
        for member in archive.members():
            guard.check(member)
            content = archive.content(member)
            if member.name == DATABASE:
                import_dump(Parts(content), target, password, processes)
                return
            for _part in content:
                pass
    raise Invalid("the archive holds no dump")


def import_live(source: Generation, target: Generation, password: str, processes: Processes) -> None:
    """The live database, dumped and read like that of an archive."""
    argv = dump_command(source.database, broken_views(source.database))
    with tempfile.TemporaryFile() as errors:
        dump = processes.add(start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors))
        try:
            import_dump(dump.stdout, target, password, processes)
        except (Unreadable, Refused) as error:
            # Most often the dump ended early, and not the reader.
            raise SiteError(f"the live database cannot be copied: {last_lines(said_in(errors)) or error}") from error
        finally:
            dump.stdout.close()
            status = dump.wait()
        if status != 0:
            raise CommandError(argv, status, said_in(errors))


def import_dump(stream, target: Generation, password: str, processes: Processes) -> None:
    """Sends the statements of a dump, each checked, to the new database as its own user."""
    # Nobody who wrote the dump knows where a statement ends for the client, so none becomes two. It takes 15 bytes at most.
    delimiter = random.token_hex(7).encode()
    client = ["mariadb", "--sandbox", "--binary-mode", "--default-character-set=utf8mb4", "--batch", target.database]
    with tempfile.TemporaryFile() as errors:
        load = processes.add(
            start_as_user(target, password, client, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        )
        try:
            load.stdin.write(b"DELIMITER " + delimiter + b"\n")
            for statement in statements(stream):
                load.stdin.write(checked(statement))
                load.stdin.write(b"\n" + delimiter + b"\n")
            load.stdin.close()
        except BrokenPipeError:
            # The client says below why it has ended.
            pass
        except (Unreadable, Refused):
            load.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                load.stdin.close()
            status = load.wait()
        if status != 0:
            raise CommandError(client, status, without_data(said_in(errors)))


def without_data(said: str) -> str:
    """The client's errors without the statements that it shows: they hold what people wrote."""
    return "\n".join(line.partition(" near '")[0] for line in said.splitlines() if line.startswith("ERROR"))


def copy_files(source: Generation, target: Generation) -> None:
    """Code and uploads of what is live, as the environment's user: what PHP laid there leads that user nowhere else."""
    for origin, copy in ((source.release, target.release), (source.uploads, target.uploads)):
        if not os.path.isdir(origin):
            raise SiteError("the live files are not there: only a full backup can be restored")
        run(["cp", "-a", "--reflink=auto", "--", f"{origin}/.", copy], user=target.environment.user)


def both(first, second) -> None:
    """Runs two halves at once; `first` and `second` take a Processes. The first failure ends the other half and is raised."""
    processes = Processes()
    with ThreadPoolExecutor(max_workers=2) as pool:
        halves = [pool.submit(first, processes), pool.submit(second, processes)]
        failed = [half for half in wait(halves, return_when=FIRST_EXCEPTION).done if half.exception() is not None]
        if failed:
            processes.end()
            wait(halves)
            raise failed[0].exception()
