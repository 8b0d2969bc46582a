#!/usr/bin/python
"""Keeps a service enabled and running with the configuration that is on disk.

Handlers forget what they were notified of when a run is killed, and the next run then finds the files in place and leaves the
service on its old configuration. This module looks at the world instead: a configuration file that is younger than the service's
last start or reload has not been read yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pressluft_systemd import ENABLED, parse_timestamp, parse_units, show_command

DOCUMENTATION = r"""
module: pressluft_service
short_description: Keeps a service enabled and running with the configuration on disk
description:
  - Enables the service, starts it where it is not running, and restarts or reloads it where a configuration path is younger
    than its last start or reload, or where the proof fails.
  - Unmasks the service, and has systemd read unit files anew where they changed.
  - Needs systemd 247 or later. Supports check mode.
author: Pressluft
options:
  name:
    description: The systemd unit.
    type: str
    required: true
  config:
    description: Files and directories that the service reads when it starts. Each must exist.
    type: list
    elements: path
    default: []
  test:
    description: A command that tests the configuration. It runs before any start, restart or reload, and its failure is the task's.
    type: list
    elements: str
    default: []
  proof:
    description: >-
      A command that exits with 0 while the running service holds what it was started for. It is asked only of a running
      service, and its failure means that the configuration has to be applied anew.
    type: list
    elements: str
    default: []
  apply:
    description: How the running service takes a changed configuration.
    type: str
    choices: [restart, reload]
    default: restart
"""

EXAMPLES = r"""
- name: Run nginx
  pressluft_service:
    name: nginx
    config:
      - /etc/nginx/conf.d/pressluft.conf
    test: [nginx, -t, -q]
    apply: reload
"""

RETURN = r"""
actions:
  description: What was done, in order, out of unmask, daemon-reload, enable, start, restart and reload.
  type: list
  returned: always
"""


def needed_actions(state: dict, newest_config: float, apply: str, is_proved: Callable[[], bool]) -> list[str]:
    """What has to be done, from systemd's properties of the unit and the time of its youngest configuration path."""
    actions = []
    if state["LoadState"] == "masked":
        actions.append("unmask")
    if state["NeedDaemonReload"] == "yes":
        actions.append("daemon-reload")
    if state["UnitFileState"] not in ENABLED:
        actions.append("enable")
    if state["ActiveState"] not in ("active", "reloading"):
        actions.append("start")
    elif parse_timestamp(state["StateChangeTimestamp"]) <= newest_config or not is_proved():
        actions.append(apply)
    return actions


class Service:
    def __init__(self, module: AnsibleModule):
        self.module = module
        self.name = module.params["name"]

    def run(self, command: list[str], purpose: str) -> str:
        status, out, err = self.module.run_command(command)
        if status != 0:
            self.module.fail_json(msg=f"{purpose} failed", rc=status, stdout=out, stderr=err)
        return out

    def state(self) -> dict:
        # StateChangeTimestamp moves with a reload too, ActiveEnterTimestamp does not.
        names = ["LoadState", "ActiveState", "UnitFileState", "StateChangeTimestamp", "NeedDaemonReload"]
        out = self.run(show_command([self.name], names), f"Reading the state of {self.name}")
        state = next(iter(parse_units(out)), {})
        if state.get("LoadState") not in ("loaded", "masked"):
            self.module.fail_json(msg=f"The unit {self.name} is {state.get('LoadState', 'unknown')}")
        return state

    def is_proved(self) -> bool:
        proof = self.module.params["proof"]
        return not proof or self.module.run_command(proof)[0] == 0

    def perform(self, actions: list[str]) -> None:
        if "unmask" in actions:
            self.run(["systemctl", "unmask", "--quiet", "--", self.name], f"Unmasking {self.name}")
        if "daemon-reload" in actions:
            self.run(["systemctl", "daemon-reload"], "Reading the unit files anew")
        if "enable" in actions:
            self.run(["systemctl", "enable", "--quiet", "--", self.name], f"Enabling {self.name}")
        changing = [action for action in actions if action not in ("unmask", "daemon-reload", "enable")]
        if not changing:
            return
        if self.module.params["test"]:
            self.run(self.module.params["test"], f"The test of the configuration of {self.name}")
        if "start" in changing:
            # A unit that hit its start limit refuses to start until this is cleared.
            self.run(["systemctl", "reset-failed", "--", self.name], f"Clearing the failures of {self.name}")
        for action in changing:
            self.run(["systemctl", action, "--", self.name], f"systemctl {action} {self.name}")


def newest(paths: list[str]) -> float:
    """When the youngest of `paths` changed, in seconds since the epoch; 0.0 for none. A missing path raises OSError.

    The inode's own time counts (ctime): the return of an older copy sets the other (mtime) back.
    """
    return max((os.stat(path).st_ctime for path in paths), default=0.0)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "config": {"type": "list", "elements": "path", "default": []},
            "test": {"type": "list", "elements": "str", "default": []},
            "proof": {"type": "list", "elements": "str", "default": []},
            "apply": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
        },
        supports_check_mode=True,
    )
    service = Service(module)
    try:
        newest_config = newest(module.params["config"])
    except OSError as error:
        module.fail_json(msg=f"A configuration path cannot be read: {error}")
    actions = needed_actions(service.state(), newest_config, module.params["apply"], service.is_proved)
    if not module.check_mode:
        service.perform(actions)
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
