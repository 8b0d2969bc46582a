#!/usr/bin/python
"""Says whether a node still is what a whole provisioning run has made of it, and writes down what that was.

The record alone proves nothing: it only says what to look at. The check compares all of it with the machine as it is now. What is
compared, and what is not, and why: docs/decisions/0007-up-to-date-nodes.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pressluft_systemd import ENABLED, parse_timestamp, parse_units, show_command

DOCUMENTATION = r"""
module: pressluft_runtime
short_description: Says whether a node is up to date, and records what it consists of
description:
  - With O(state=check) compares the machine with its record. Whatever cannot be read or understood means that the node is not
    up to date; it is never an error.
  - With O(state=record) writes the record, and fails where the machine would not pass the check by it. Supports check mode.
author: Pressluft
options:
  state:
    description: What to do.
    type: str
    choices: [check, record]
    required: true
  key:
    description: Names what provisioning makes of a node; another key is another runtime.
    type: str
    required: true
  path:
    description: The record, readable and writable by its owner alone.
    type: path
    default: /var/lib/pressluft/runtime.json
  files:
    description:
      - Paths of which the record keeps kind, mode and owner, a file's digest and a link's target. A directory's entries are not
        looked at.
    type: list
    elements: path
    default: []
  absent:
    description: Paths at which nothing may be.
    type: list
    elements: path
    default: []
  secrets:
    description:
      - Paths of which the record keeps kind, mode and owner only, as the content belongs to one machine. A directory stands for
        all that is in it when the record is made.
    type: list
    elements: path
    default: []
  packages:
    description: Packages that have to be installed, in any version.
    type: list
    elements: str
    default: []
  services:
    description: Units that have to be active, enabled, and started or reloaded after the files changed for the last time.
    type: list
    elements: str
    default: []
  commands:
    description:
      - Commands, each a list of words, that have to end with exit status 0 and print what they printed when the record was made.
    type: list
    elements: list
    default: []
"""

EXAMPLES = r"""
- name: See whether the node is up to date
  pressluft_runtime:
    state: check
    key: "{{ pressluft_runtime_key }}"
  register: runtime

- name: Record what the node consists of
  pressluft_runtime:
    state: record
    key: "{{ pressluft_runtime_key }}"
    files: [/etc/nginx/conf.d/pressluft.conf]
    packages: [nginx]
    services: [nginx]
    commands:
      - [nft, --stateless, list, table, inet, pressluft]
"""

RETURN = r"""
current:
  description: Whether the machine is as the record says, under the same key.
  type: bool
  returned: with O(state=check)
reason:
  description: The first difference that was found; empty where there is none.
  type: str
  returned: with O(state=check)
"""

RECORD_VERSION = 1
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
UNIT_PROPERTIES = ["LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "StateChangeTimestamp"]


def describe(path: str) -> dict:
    """Kind, mode and numeric owner of what is at `path`, not followed where it is a link. Raises OSError for nothing."""
    status = os.lstat(path)
    return {
        "kind": KINDS.get(stat.S_IFMT(status.st_mode), "other"),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def describe_content(path: str) -> dict:
    """What `describe` says, with the content of a file and the target of a link, and when it changed in any way.

    The time is the inode's own (ctime, in nanoseconds): unlike mtime nothing sets it back, neither `touch` nor the return of an
    older copy. A directory's moves with every entry, so it has none.
    """
    seen = describe(path)
    if seen["kind"] == "file":
        with open(path, "rb") as file:
            seen["sha256"] = hashlib.sha256(file.read()).hexdigest()
    elif seen["kind"] == "link":
        seen["target"] = os.readlink(path)
    if seen["kind"] != "directory":
        seen["changed_ns"] = os.lstat(path).st_ctime_ns
    return seen


def with_entries(path: str) -> list[str]:
    """`path` and, where it is a directory, all that is in it."""
    below = os.walk(path, onerror=raise_it)
    return [path, *(os.path.join(folder, name) for folder, folders, files in below for name in folders + files)]


def raise_it(error: OSError) -> None:
    # os.walk passes over what it cannot read, unless told otherwise.
    if not isinstance(error, NotADirectoryError):
        raise error


def file_difference(recorded: dict, seen: dict) -> str | None:
    """The name of the first property that differs; when it changed is none of them."""
    names = (name for name in sorted({*recorded, *seen} - {"changed_ns"}) if recorded.get(name) != seen.get(name))
    return next(names, None)


class Runtime:
    """The machine. `run` runs a command and returns its exit status, standard output and standard error."""

    def __init__(self, run):
        self.run = run

    def command_output(self, argv: list[str]) -> str | None:
        """The digest of what a command prints; None where it fails."""
        status, out, _err = self.run(argv)
        return hashlib.sha256(out.encode()).hexdigest() if status == 0 else None

    def record(self, key: str, wanted: dict) -> dict:
        """What the machine consists of now, of what `wanted` names. Raises OSError for a path that is not there."""
        return {
            "version": RECORD_VERSION,
            "key": key,
            "files": {path: describe_content(path) for path in sorted(wanted["files"])},
            "absent": sorted(wanted["absent"]),
            "secrets": {path: describe(path) for secret in sorted(wanted["secrets"]) for path in with_entries(secret)},
            "packages": sorted(set(wanted["packages"])),
            "services": sorted(set(wanted["services"])),
            "commands": [{"argv": argv, "sha256": self.command_output(argv)} for argv in wanted["commands"]],
        }

    def difference(self, record: dict) -> str | None:
        """The first thing in which the machine differs from `record`. Raises for a record of another shape."""
        changed_at = 0.0
        for path, recorded in record["files"].items():
            seen = describe_content(path)
            name = file_difference(recorded, seen)
            if name:
                return f"{path} has another {name}"
            # In a copy of a machine every file is newer than in the record, and every service was started later still.
            if seen.get("changed_ns") != recorded.get("changed_ns"):
                changed_at = max(changed_at, seen["changed_ns"] / 1e9)
        for path, recorded in record["secrets"].items():
            name = file_difference(recorded, describe(path))
            if name:
                return f"{path} has another {name}"
        for path in record["absent"]:
            if os.path.lexists(path):
                return f"{path} is there"
        return (
            self.package_difference(record["packages"])
            or self.service_difference(record["services"], changed_at)
            or self.command_difference(record["commands"])
        )

    def package_difference(self, packages: list[str]) -> str | None:
        # Without names dpkg-query lists every package.
        if not packages:
            return None
        _status, out, _err = self.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", "--", *packages]
        )
        installed = {line.removeprefix("installed ") for line in out.splitlines() if line.startswith("installed ")}
        missing = (f"the package {name} is not installed" for name in packages if name not in installed)
        return next(missing, None)

    def service_difference(self, services: list[str], changed_at: float) -> str | None:
        """`changed_at`: seconds since the epoch; every service has to have been started or reloaded after it."""
        if not services:
            return None
        status, out, err = self.run(show_command(services, UNIT_PROPERTIES))
        units = parse_units(out)
        if status != 0 or len(units) != len(services):
            return f"the state of the services cannot be read: {err.strip()}"
        for name, unit in zip(services, units):
            if unit["LoadState"] != "loaded":
                return f"the unit {name} is {unit['LoadState']}"
            if unit["ActiveState"] != "active":
                return f"the service {name} is {unit['ActiveState']}"
            if unit["UnitFileState"] not in ENABLED:
                return f"the service {name} is {unit['UnitFileState'] or 'not enabled'}"
            if unit["NeedDaemonReload"] != "no":
                return f"the unit of {name} has changed on disk"
            if parse_timestamp(unit["StateChangeTimestamp"]) <= changed_at:
                return f"a file has changed since {name} was started"
        return None

    def command_difference(self, commands: list[dict]) -> str | None:
        for command in commands:
            digest = self.command_output(command["argv"])
            if digest is None:
                return f"`{' '.join(command['argv'])}` fails"
            if digest != command["sha256"]:
                return f"`{' '.join(command['argv'])}` prints something else"
        return None


def read_record(path: str) -> dict | None:
    """The record; None where others than its owner may read or write it. Raises OSError and ValueError."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None
        return json.load(file)


def check(runtime: Runtime, key: str, path: str) -> tuple[bool, str]:
    """Whether the machine is as the record in `path` says, and the first difference. Never raises."""
    try:
        recorded = read_record(path)
        if recorded is None:
            return False, f"{path} is not private"
        if recorded["version"] != RECORD_VERSION or recorded["key"] != key:
            return False, "the node was provisioned by another version"
        difference = runtime.difference(recorded)
    except FileNotFoundError as error:
        return False, f"{error.filename or path} is not there"
    except Exception as error:
        # Whatever is wrong, a whole run looks at everything anew.
        return False, f"it cannot be told: {error!r}"
    return difference is None, difference or ""


def write_record(path: str, record: dict) -> None:
    """Replaces the record in one step, 0600. Raises OSError."""
    folder = os.path.dirname(path)
    # Made private by its maker.
    handle, temporary = tempfile.mkstemp(prefix=".runtime-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def is_recorded(path: str, record: dict) -> bool:
    try:
        return read_record(path) == record
    except (OSError, ValueError):
        return False


class NotAsMade(Exception):
    """The machine would not pass the check by the record that it gives."""


def record(runtime: Runtime, key: str, path: str, wanted: dict, check_mode: bool) -> bool:
    """Writes down what `wanted` names, where that is not what `path` holds; whether it is not. Raises NotAsMade and OSError."""
    seen = runtime.record(key, wanted)
    difference = runtime.difference(seen)
    if difference:
        raise NotAsMade(difference)
    changed = not is_recorded(path, seen)
    if changed and not check_mode:
        write_record(path, seen)
    return changed


def main() -> None:
    lists = {"type": "list", "elements": "path", "default": []}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["check", "record"], "required": True},
            # What the key tells is no secret, whatever its name makes of it.
            "key": {"type": "str", "required": True, "no_log": False},
            "path": {"type": "path", "default": "/var/lib/pressluft/runtime.json"},
            "files": lists,
            "absent": lists,
            "secrets": {**lists, "no_log": False},
            "packages": names,
            "services": names,
            "commands": {"type": "list", "elements": "list", "default": []},
        },
        supports_check_mode=True,
    )
    runtime = Runtime(lambda argv: module.run_command(argv, handle_exceptions=False))
    key, path = module.params["key"], module.params["path"]
    if module.params["state"] == "check":
        current, reason = check(runtime, key, path)
        module.exit_json(changed=False, current=current, reason=reason)
    try:
        changed = record(runtime, key, path, module.params, module.check_mode)
    except NotAsMade as error:
        module.fail_json(msg=f"The node is not as provisioning should have made it: {error}")
    except OSError as error:
        module.fail_json(msg=f"The node cannot be recorded: {error}")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
