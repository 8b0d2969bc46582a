"""Removes an environment from its node: everything that carries its short id, in whatever state it is."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time

from ansible.module_utils.pressluft_site import (
    STAGING,
    CommandError,
    Environment,
    Generation,
    deadline,
    remove_file,
    remove_tree,
    run,
    user_exists,
)
from ansible.module_utils.pressluft_site_database import databases_of, drop_database
from ansible.module_utils.pressluft_site_services import node_locked, remove_redis_user, unconfigure

# userdel's status for a user that still has processes.
USER_IS_BUSY = 8


def processes_of(user: str) -> list[int]:
    """The ids of all processes that run as a user."""
    uid = pwd.getpwnam(user).pw_uid
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.stat(f"/proc/{name}").st_uid == uid:
                found.append(int(name))
    return found


def end_processes(environment: Environment) -> None:
    if user_exists(environment.user):
        for process in processes_of(environment.user):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def remove_user(environment: Environment) -> bool:
    if not user_exists(environment.user):
        return False
    # PHP-FPM takes its reload over a moment, and until then starts anew what is ended here.
    with deadline(20, f"processes of {environment.user} do not end"), node_locked():
        while user_exists(environment.user):
            end_processes(environment)
            done = run(["userdel", environment.user], check=False)
            if done.returncode == USER_IS_BUSY:
                time.sleep(0.02)
            elif done.returncode != 0:
                raise CommandError(["userdel"], done.returncode, done.stderr)
    return True


def staged_backups(environment: Environment) -> list[str]:
    """The staged backups of an environment, by the manifest that every one of them begins with."""
    if not os.path.isdir(STAGING):
        return []
    found = []
    for name in sorted(os.listdir(STAGING)):
        path = f"{STAGING}/{name}"
        manifest = run(["tar", "--zstd", "-xOf", path, "--occurrence=1", "manifest.json"], check=False).stdout
        if f'"{environment.id}"' in manifest:
            found.append(path)
    return found


def remove(environment: Environment) -> bool:
    """Removes everything of an environment; whether anything was there."""
    removed = [unconfigure(environment), remove_user(environment), remove_redis_user(environment)]
    databases = databases_of(environment)
    for database in databases:
        drop_database(Generation(environment, database.rpartition("_")[2]))
    staged = staged_backups(environment)
    for path in staged:
        remove_file(path)
    removed += [bool(databases), bool(staged), remove_tree(environment.folder)]
    return any(removed)


def is_there(environment: Environment) -> bool:
    """Whether anything of an environment is there, of what a removal leaves for the end or the files of services show."""
    return user_exists(environment.user) or os.path.lexists(environment.folder) or bool(databases_of(environment))
