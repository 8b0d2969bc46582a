"""Makes a backup of an environment: one file in the node's staging folder.

The database comes first, then the files: whatever a row of the dump names was uploaded before it, so its file is there. The
dump goes to a file before it goes into the archive, where its size stands before it. What is compressed is hashed on its way
to the disk.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import posixpath
import re
import stat
import subprocess
import tempfile
from dataclasses import dataclass

from ansible.module_utils import pressluft_site
from ansible.module_utils.pressluft_backup_archive import DATABASE, FORMAT, MANIFEST, SCOPES, leads_inside, printable
from ansible.module_utils.pressluft_journal import sync_folder
from ansible.module_utils.pressluft_site import (
    CommandError,
    Environment,
    Generation,
    SiteError,
    last_lines,
    remove_file,
    remove_tree,
    start,
)
from ansible.module_utils.pressluft_site_database import sql
from ansible.module_utils.pressluft_site_dump import broken_views, dump_command
from ansible.module_utils.pressluft_site_wordpress import LINKS, TABLE_PREFIX, wordpress_version

READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """What shall be backed up. `as_far_as_there`: parts that are not there are recorded as missing, and are no failure."""

    environment: Environment
    backup: str
    scope: str
    url: str
    as_far_as_there: bool

    def __post_init__(self):
        if not re.fullmatch(r"[0-9a-f]{12}", self.backup):
            raise SiteError(f"not a short id: {self.backup!r}")

    @property
    def staged(self) -> str:
        return f"{pressluft_site.STAGING}/{self.backup}.tar.zst"

    @property
    def sidecar(self) -> str:
        return f"{pressluft_site.STAGING}/{self.backup}.json"

    @property
    def part(self) -> str:
        return f"{self.staged}.part"

    @property
    def work(self) -> str:
        return f"{pressluft_site.STAGING}/{self.backup}.work"

    def identity(self) -> dict:
        return {"site": self.environment.site, "environment": self.environment.id, "backup": self.backup, "scope": self.scope}


def named_by_current(environment: Environment) -> Generation | None:
    """The generation that `current` names, though its folder may be gone."""
    try:
        target = os.readlink(environment.current)
    except OSError:
        return None
    found = re.fullmatch(r"generations/([0-9]{14})", target)
    return Generation(environment, found.group(1)) if found else None


def make(request: Request) -> tuple[dict, bool]:
    """The finished backup as {path, size_bytes, sha256}, and whether it was made now. Raises SiteError."""
    finished = already_made(request)
    if finished is not None:
        return finished, False
    try:
        with contextlib.ExitStack() as leftovers:
            leftovers.callback(discard, request)
            discard(request)
            return stage(request), True
    except OSError as error:
        raise clear(error) from error


def already_made(request: Request) -> dict | None:
    """What the file beside a whole backup says of it; None where there is no whole backup."""
    try:
        with open(request.sidecar, encoding="utf-8") as file:
            said = json.load(file)
        if {key: said[key] for key in request.identity()} != request.identity():
            return None
        size = os.stat(request.staged, follow_symlinks=False).st_size
        result = {"path": request.staged, "size_bytes": said["size_bytes"], "sha256": said["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if size == result["size_bytes"] else None


def discard(request: Request) -> None:
    """Removes what an attempt leaves beside the whole backup."""
    remove_tree(request.work)
    remove_tree(request.part)
    # The control plane removes the backups that it has fetched, and knows nothing of what stands beside them.
    for path in glob.glob(f"{pressluft_site.STAGING}/*.json"):
        backup = path.removesuffix(".json")
        if not any(os.path.lexists(f"{backup}{end}") for end in (".tar.zst", ".tar.zst.part", ".work")):
            remove_file(path)


def clear(error: OSError) -> SiteError:
    """What the operator is told of an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SiteError(f"the node's disk is full: {free_mib()} MiB are left under {pressluft_site.STAGING}")
    return SiteError(f"the backup could not be written: {error.strerror or error}")


def free_mib() -> int:
    with contextlib.suppress(OSError):
        found = os.statvfs(pressluft_site.STAGING)
        return (found.f_bavail * found.f_frsize) >> 20
    return 0


def stage(request: Request) -> dict:
    os.mkdir(request.work, 0o700)
    generation = named_by_current(request.environment)
    missing: dict[str, str] = {}
    views: list[str] = []
    if "database" in SCOPES[request.scope] and (reason := dump_database(request, generation, views)):
        missing["database"] = reason
    with_files = "files" in SCOPES[request.scope]
    if with_files and (reason := why_no_files(generation)):
        missing["files"] = reason
    if missing and not request.as_far_as_there:
        raise SiteError("; ".join(f"the {part} cannot be backed up: {reason}" for part, reason in missing.items()))
    files = with_files and "files" not in missing
    left_out = foreign_entries(generation) if files else []
    manifest = {
        "format": FORMAT,
        **request.identity(),
        "url": request.url,
        "wordpress_version": version_of(generation),
        "table_prefix": TABLE_PREFIX,
        "parts": {part: part in SCOPES[request.scope] and part not in missing for part in ("database", "files")},
        "missing": missing,
        # Links that lead out of the environment's own files, and what is no file: not taken along, as it could not come back.
        "left_out": [printable(name) for name in left_out + views],
    }
    with open(f"{request.work}/{MANIFEST}", "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
    size, digest = pack(request, tar_arguments(request, generation if files else None, left_out))
    result = {"path": request.staged, "size_bytes": size, "sha256": digest}
    write_sidecar(request, result)
    os.rename(request.part, request.staged)
    sync_folder(pressluft_site.STAGING)
    return result


def dump_database(request: Request, generation: Generation | None, left_out: list[str]) -> str | None:
    """Dumps the live database into the work folder. Why there is nothing to dump, where that is so.

    Views that no longer work are added to `left_out`.
    """
    if generation is None:
        return "there is no live generation"
    name = generation.database
    if not sql(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{name}';"):
        return "there is no database"
    path = f"{request.work}/{DATABASE}"
    views = broken_views(name)
    left_out += [f"view {view}" for view in views]
    command = dump_command(name, views)
    with open(path, "wb") as target, tempfile.TemporaryFile() as errors:
        process = start(command, stdin=subprocess.DEVNULL, stdout=target, stderr=errors)
        status = process.wait()
        said = said_in(errors)
    if status == 0:
        return None
    os.unlink(path)
    if "errno 28" in said or "No space left" in said:
        raise OSError(errno.ENOSPC, "no space left")
    if request.as_far_as_there:
        return f"it cannot be dumped: {last_lines(said)}"
    raise CommandError(command, status, said)


def said_in(errors) -> str:
    errors.seek(0)
    return errors.read().decode("utf-8", "replace")


def why_no_files(generation: Generation | None) -> str | None:
    if generation is None:
        return "there is no live generation"
    for what, path in (("live release", generation.release), ("folder of uploads", generation.uploads)):
        if not stat.S_ISDIR(os.lstat(path).st_mode if os.path.lexists(path) else 0):
            return f"there is no {what}"
    return None


def version_of(generation: Generation | None) -> str | None:
    """The version of the live WordPress; None where it cannot be told, which is no reason to have no backup."""
    with contextlib.suppress(SiteError, KeyError):
        return wordpress_version(generation) if generation is not None else None
    return None


def foreign_entries(generation: Generation) -> list[str]:
    """What a restore would refuse, as paths below the generation: links that lead out of their tree, sockets, pipes."""
    found = []
    for tree, prefix in ((generation.release, "files/code"), (generation.uploads, "files/uploads")):
        folders = [tree]
        while folders:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False) and not stays_inside(entry, tree, prefix):
                        found.append(os.path.relpath(entry.path, generation.path))
    links = {os.path.relpath(f"{generation.release}/{name}", generation.path) for name in LINKS}
    return sorted(set(found) - links)


def stays_inside(entry: os.DirEntry, tree: str, prefix: str) -> bool:
    if not entry.is_symlink():
        return False
    try:
        target = os.readlink(entry.path)
    except OSError:
        return False
    return leads_inside(posixpath.join(prefix, os.path.relpath(entry.path, tree)), target)


def tar_arguments(request: Request, generation: Generation | None, left_out: list[str]) -> list[str]:
    members = [MANIFEST] + ([DATABASE] if os.path.exists(f"{request.work}/{DATABASE}") else [])
    argv = ["tar", "--create", "--format=gnu", "--hard-dereference", "--owner=0", "--group=0", "--numeric-owner"]
    if generation is None:
        return [*argv, f"--directory={request.work}", *members]
    release = os.path.relpath(generation.release, generation.path)
    excluded = [f"{release}/{name}" for name in LINKS] + left_out
    return [
        *argv,
        *("--anchored", "--no-wildcards"),
        *(f"--exclude={path}" for path in excluded),
        # r: names alone are changed, and not what links lead to.
        f"--transform=flags=r;s,^{release},files/code,;s,^uploads,files/uploads,",
        *(f"--directory={request.work}", *members),
        *(f"--directory={generation.path}", release, "uploads"),
    ]


def pack(request: Request, argv: list[str]) -> tuple[int, str]:
    """Runs tar through zstd into the unfinished file; its size and digest. It is on the disk when this returns."""
    digest = hashlib.sha256()
    size = 0
    handle = os.open(request.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as target, tempfile.TemporaryFile() as errors:
        tar = start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, pipesize=READ_BYTES)
        zstd = start(
            # Level 3 takes twice the time, which everybody waits for, to save a tenth of the space.
            ["zstd", "-q", "-1", "-T0", "-c"],
            stdin=tar.stdout,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            pipesize=READ_BYTES,
        )
        tar.stdout.close()
        try:
            while part := zstd.stdout.read(READ_BYTES):
                digest.update(part)
                written = 0
                while written < len(part):
                    written += target.write(part[written:])
                size += len(part)
        except OSError:
            zstd.kill()
            tar.kill()
            raise
        finally:
            zstd.stdout.close()
            statuses = (tar.wait(), zstd.wait())
        # 1: a file changed, or went, while it was read. The database was dumped before, so no row of it needs that file.
        if statuses[0] not in (0, 1):
            raise CommandError(argv, statuses[0], said_in(errors))
        if statuses[1] != 0:
            raise CommandError(["zstd"], statuses[1], said_in(errors))
        os.fsync(target.fileno())
    return size, digest.hexdigest()


def write_sidecar(request: Request, result: dict) -> None:
    """Says what the whole backup is; written before the backup gets its name, so that one never stands without the other."""
    new = f"{request.sidecar}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
        json.dump({**request.identity(), "size_bytes": result["size_bytes"], "sha256": result["sha256"]}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, request.sidecar)
