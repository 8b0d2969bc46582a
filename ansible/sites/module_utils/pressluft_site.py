"""Where an environment lives on its node, and how programs are run for it.

What else the site modules share: `pressluft_site_database` (MariaDB), `pressluft_site_wordpress` (wp-config.php, WP-CLI, the
must-use plugin), `pressluft_site_services` (PHP-FPM, nginx, Redis), `pressluft_site_serialized` (PHP's serialized values).

Everything between the site's folder and a release is owned by root, so that PHP cannot lead a module that runs as root to
another place; what PHP may write is its release, its uploads, and tmp/. Inside these a module writes as the environment's user.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from ansible.module_utils.pressluft_site_gate import close_to_others

SITES = "/var/www/sites"
ARTIFACTS = "/var/lib/pressluft/artifacts"
STAGING = "/var/lib/pressluft/staging"
# Of root alone: in /run/lock whoever runs on the node could lay a link, or hold a lock for good.
LOCKS = "/run/pressluft-sites"
LOCK_SECONDS = 60
READ_AS_BYTES = 64 * 1024
GENERATION = "%Y%m%d%H%M%S"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The open lock of this process. Children inherit it, so that what a killed module leaves running still holds the lock.
_held: list[int] = []


class SiteError(Exception):
    """The work cannot go on. `code` is one of the control plane's job error codes, or None."""

    def __init__(self, msg: str, code: str | None = None):
        super().__init__(msg)
        self.code = code


def fail(module, error: SiteError) -> None:
    """Ends an Ansible module with what `error` says."""
    module.fail_json(msg=str(error), **({"pressluft_code": error.code} if error.code else {}))


class CommandError(SiteError):
    """A program ended with another status than 0."""

    def __init__(self, argv: list[str], status: int, output: str):
        self.status = status
        self.output = last_lines(output)
        super().__init__(f"{os.path.basename(argv[0])} ended with status {status}: {self.output}")


def last_lines(text: str, count: int = 5) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:])[-1500:]


def start(argv: list[str], env=None, user: str | None = None, fds=(), directory: str = "/", **streams) -> subprocess.Popen:
    """Starts a program with a small environment, as `user` where one is named. `streams` go to Popen.

    It begins in `directory`, even where `user` could not get there: it is entered before.
    """
    base = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    # The mark by which the control plane ends what a cancelled run left behind.
    if "PL_NODE_RUN" in os.environ:
        base["PL_NODE_RUN"] = os.environ["PL_NODE_RUN"]
    who = {}
    if user is not None:
        entry = pwd.getpwnam(user)
        who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.Popen(argv, env={**base, **(env or {})}, cwd=directory, pass_fds=(*_held, *fds), close_fds=True, **who, **streams)


def run(argv: list[str], input=None, env=None, user: str | None = None, check: bool = True, fds=(), directory: str = "/"):
    """Runs a program to its end; a CompletedProcess with text in `stdout` and `stderr`. Secrets belong into `input` or `env`.

    Raises CommandError where `check` and it fails.
    """
    pipe = subprocess.PIPE
    stdin = pipe if input is not None else subprocess.DEVNULL
    process = start(argv, env, user, fds, directory, stdin=stdin, stdout=pipe, stderr=pipe, text=True, errors="replace")
    stdout, stderr = process.communicate(input)
    if check and process.returncode != 0:
        raise CommandError(argv, process.returncode, stderr if stderr.strip() else stdout)
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def read_as(user: str, path: str) -> str:
    """The beginning of a file that PHP may have replaced, read as its user; empty where it cannot be read.

    As that user, so that no link leads to what it may not read; not for long and not without end, since it may lead to a pipe
    or to a device.
    """
    command = ["timeout", "-k", "1", "5", "head", "-c", str(READ_AS_BYTES), "--", path]
    return run(command, user=user, check=False).stdout


class Environment:
    """One environment of a site, by their short ids (12 hexadecimal digits each)."""

    def __init__(self, site: str, environment: str):
        for name in (site, environment):
            if not re.fullmatch(r"[0-9a-f]{12}", name):
                raise SiteError(f"not a short id: {name!r}")
        self.site = site
        self.id = environment
        self.user = f"pl_{environment}"
        self.site_folder = f"{SITES}/{site}"
        self.folder = f"{self.site_folder}/{environment}"
        self.generations = f"{self.folder}/generations"
        self.current = f"{self.folder}/current"
        self.tmp = f"{self.folder}/tmp"
        self.moved_from = f"{self.folder}/moved-from"
        self.socket = f"/run/php/{self.user}.sock"
        self.lock_file = f"{LOCKS}/pressluft-{environment}.lock"

    def generation_names(self) -> list[str]:
        """The names of all generations that have a folder, oldest first."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.generations) if re.fullmatch(r"[0-9]{14}", name))
        return []

    def generation_from_live(self) -> Generation | None:
        """The generation that `current` leads to; None where there is none."""
        try:
            target = os.readlink(self.current)
        except OSError:
            return None
        name = os.path.basename(target)
        is_one = target == f"generations/{name}" and name in self.generation_names()
        return Generation(self, name) if is_one else None

    def new_generation_name(self) -> str:
        """The time now as `YYYYMMDDHHMMSS` in UTC, moved on by seconds where that name is taken."""
        moment = datetime.now(timezone.utc)
        while os.path.lexists(f"{self.generations}/{moment.strftime(GENERATION)}"):
            moment += timedelta(seconds=1)
        return moment.strftime(GENERATION)

    def switch_current(self, generation: Generation) -> None:
        """Makes a generation the live one, in one step."""
        place_link(f"generations/{generation.name}", self.current)

    def make_frame(self) -> None:
        """The folders around the generations. The environment's user must be there."""
        make_folder(SITES, 0o755)
        make_folder(self.site_folder, 0o755)
        make_folder(self.folder, 0o710, "root", "www-data")
        close_to_others(self.folder, self.user)
        make_folder(self.generations, 0o711)
        make_folder(self.tmp, 0o700, self.user, self.user)

    @contextlib.contextmanager
    def locked(self):
        """Holds the environment's lock; what another module began on it is waited for."""
        make_locks_folder()
        handle = -1
        try:
            with deadline(LOCK_SECONDS, f"another run still works on {self.user} after {LOCK_SECONDS} s"):
                # A file that was removed with its environment is nobody's lock any more.
                while handle < 0 or not _is_file(handle, self.lock_file):
                    if handle >= 0:
                        os.close(handle)
                    handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                    fcntl.flock(handle, fcntl.LOCK_EX)
            _held.append(handle)
            yield
        finally:
            if handle in _held:
                _held.remove(handle)
            if handle >= 0:
                os.close(handle)


def make_locks_folder() -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(LOCKS, 0o700)


def _is_file(handle: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


class Generation:
    """One generation of an environment: its code, uploads, configuration and database, named by the time it was made."""

    def __init__(self, environment: Environment, name: str):
        if not re.fullmatch(r"[0-9]{14}", name):
            raise SiteError(f"not the name of a generation: {name!r}")
        self.environment = environment
        self.name = name
        self.path = f"{environment.generations}/{name}"
        self.releases = f"{self.path}/releases"
        self.live = f"{self.path}/live"
        self.uploads = f"{self.path}/uploads"
        self.config = f"{self.path}/wp-config.php"
        # The database, and the database user that can reach nothing else.
        self.database = f"{environment.user}_{name}"

    @property
    def release(self) -> str:
        """The folder that `live` leads to, or where the first release belongs."""
        try:
            target = os.readlink(self.live)
        except OSError:
            target = ""
        return f"{self.path}/{target}" if re.fullmatch(r"releases/[0-9]{14}", target) else f"{self.releases}/{self.name}"

    def make_folders(self) -> None:
        """The generation's folders and an empty first release with `live` on it. nginx reads as www-data; PHP owns.

        WordPress copies the permissions of uploads to what it puts there; the environment's folder keeps others out.
        """
        user = self.environment.user
        make_folder(self.path, 0o711)
        make_folder(self.releases, 0o711)
        make_folder(self.release, 0o750, user, "www-data")
        make_folder(self.uploads, 0o755, user, "www-data")
        place_link(os.path.relpath(self.release, self.path), self.live)

    def remove(self) -> None:
        """Removes its files. Its database is `drop_database`'s."""
        remove_tree(self.path)


def make_folder(path: str, mode: int, owner: str = "root", group: str = "root") -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    # shutil.chown follows links; none can stand here, since root owns what is above.
    shutil.chown(path, owner, group)
    os.chmod(path, mode)


def place_link(target: str, path: str) -> bool:
    """A symbolic link, put into its place in one step. Says whether anything changed."""
    if os.path.islink(path) and os.readlink(path) == target:
        return False
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.rename(new, path)
    return True


def write_file(path: str, text: str, mode: int = 0o644, group: str = "root") -> bool:
    """A file of root, written whole and moved into its place; for folders that root owns. Says whether anything changed.

    It is not forced to the disk: that would wait for all that was unpacked beside it, and a file that a power failure took is
    missing or different, so the next run writes it again.
    """
    if read_file(path) == text and os.stat(path).st_mode & 0o7777 == mode:
        return False
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        shutil.chown(new, "root", group)
        os.fchmod(file.fileno(), mode)
    os.rename(new, path)
    return True


def read_file(path: str) -> str | None:
    """A file's text; None where there is none."""
    with contextlib.suppress(FileNotFoundError):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    return None


def remove_file(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        return True
    return False


def remove_tree(path: str) -> bool:
    """A folder and all in it, no link followed. Says whether there was one."""
    if not os.path.lexists(path):
        return False
    run(["rm", "-rf", "--one-file-system", "--", path])
    return True


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def php_version() -> str:
    """The version of PHP whose FPM is installed, such as `8.2`."""
    found = glob.glob("/etc/php/*/fpm/pool.d/www.conf")
    if not found:
        raise SiteError("no PHP-FPM is installed: there is no /etc/php/*/fpm/pool.d/www.conf")
    return max((path.split("/")[3] for path in found), key=lambda version: [int(part) for part in version.split(".")])


def url_host(url: str) -> str:
    """The host of an environment's address, with its port where it names one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[a-z0-9.-]+(:[0-9]+)?", parts.netloc) or parts.path:
        raise SiteError(f"not the address of an environment: {url!r}")
    return parts.netloc


@contextlib.contextmanager
def deadline(seconds: float, message: str):
    """Ends what is inside with a SiteError after that many seconds."""

    def late(_number, _frame):
        raise SiteError(message)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
