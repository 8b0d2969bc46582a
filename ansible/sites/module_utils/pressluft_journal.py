"""The journal of a restore: what is under way in an environment, so that a repetition after any crash can tell.

It stands beside `current` and is written whole, synced and moved into its place before what it announces is done:

    preparing     the generation `new` is being made; `current` leads to `old`
    ready         `new` is whole and checked; `current` is about to lead to it, or does already
    switched      `current` leads to `new`, and what caches was told; `old` is kept
    keeping       `old` is being removed for good
    rolling_back  `current` is about to lead to `old` again, or does already; `new` is being removed

Without a journal nothing is under way. Only `keeping` cannot be taken back: parts of `old` may be gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace

from ansible.module_utils.pressluft_site import Environment, SiteError

FORMAT = 1
PHASES = ("preparing", "ready", "switched", "keeping", "rolling_back")


@dataclass(frozen=True)
class Journal:
    """`backup` is its short id, `archive` the staged file, `old` and `new` are names of generations; `old` is None where
    `current` led to none."""

    backup: str
    archive: str
    old: str | None
    new: str
    phase: str

    def __post_init__(self):
        names = [self.new] + ([self.old] if self.old is not None else [])
        if (
            self.phase not in PHASES
            or not all(isinstance(name, str) and re.fullmatch(r"[0-9]{14}", name) for name in names)
            or self.old == self.new
            or not isinstance(self.backup, str)
            or not isinstance(self.archive, str)
        ):
            raise ValueError("not the journal of a restore")

    def at(self, phase: str) -> Journal:
        return replace(self, phase=phase)


def path_of(environment: Environment) -> str:
    return f"{environment.folder}/restore.json"


def read(environment: Environment) -> Journal | None:
    """What is under way; None where nothing is. Raises SiteError for a file that is no journal: somebody has to look at it."""
    path = path_of(environment)
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        if fields.pop("format", None) != FORMAT:
            raise ValueError("another format")
        return Journal(**fields)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise SiteError(f"{path} cannot be read as the journal of a restore") from error


def write(environment: Environment, journal: Journal) -> None:
    """Puts the journal on the disk; after this has returned it outlives a loss of power."""
    path = path_of(environment)
    handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **asdict(journal)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    sync_folder(environment.folder)


def remove(environment: Environment) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(environment))
    sync_folder(environment.folder)


def sync_folder(path: str) -> None:
    """Puts the names in a folder on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
