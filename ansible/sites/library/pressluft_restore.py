#!/usr/bin/python
"""Makes a backup live, and keeps that or takes it back. How: `pressluft_restore_steps`, `pressluft_journal`."""

from __future__ import annotations

import os
import time

from ansible.module_utils import pressluft_journal as journals
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pressluft_restore_steps import Request, kept, restored, rolled_back
from ansible.module_utils.pressluft_site import Environment, SiteError, fail, url_host
from ansible.module_utils.pressluft_site_wordpress import SECRETS_SPEC

DOCUMENTATION = r"""
module: pressluft_restore
short_description: Restores an environment from a backup
description:
  - Restored builds a new generation beside the live one from a staged backup, has it prove itself, and switches to it.
    What was live stays until the restore is kept or rolled back. Where anything fails before the switch, nothing has changed.
  - Kept removes what was live before, and the staged backup. Rolled_back makes it live again, and removes the new generation.
  - Each can be repeated after it was ended at any point. Supports check mode, in which the backup is not looked at.
author: Pressluft
options:
  state:
    description: How the restore shall end.
    type: str
    choices: [restored, kept, rolled_back]
    required: true
  site:
    description: The short id of the site.
    type: str
    required: true
  environment:
    description: The short id of the environment.
    type: str
    required: true
  environment_type:
    description: What the environment is for.
    type: str
    choices: [production, staging, clone]
  url:
    description: The environment's address. A database that knows it by another one is rewritten.
    type: str
  database_password:
    description: The password of the environment's database users.
    type: str
  redis_password:
    description: The password of its Redis user.
    type: str
  proof_secret:
    description: What it proves with that it is itself that answers.
    type: str
  salts:
    description: WordPress's keys and salts by their names.
    type: dict
  wp_cli:
    description: WP-CLI on the node.
    type: path
  backup:
    description: The short id of the backup.
    type: str
  scope:
    description: What the backup holds. The other half of the new generation is a copy of what is live.
    type: str
    choices: [db, files, full]
  archive:
    description: The backup's file on the node.
    type: path
  archive_size_bytes:
    description: Its size.
    type: int
  archive_sha256:
    description: Its checksum.
    type: str
"""

EXAMPLES = r"""
- name: Take a restore back
  pressluft_restore:
    state: rolled_back
    site: 0123456789ab
    environment: ba9876543210
"""

RETURN = r"""
pressluft:
  description: What the control plane takes, C(changed).
  type: dict
  returned: success
steps:
  description: The milliseconds of each part of the work.
  type: dict
  returned: success
"""

SPEC = {
    "state": {"type": "str", "choices": ["restored", "kept", "rolled_back"], "required": True},
    "site": {"type": "str", "required": True},
    "environment": {"type": "str", "required": True},
    "environment_type": {"type": "str", "choices": ["production", "staging", "clone"]},
    "url": {"type": "str"},
    **SECRETS_SPEC,
    "wp_cli": {"type": "path"},
    "backup": {"type": "str"},
    "scope": {"type": "str", "choices": ["db", "files", "full"]},
    "archive": {"type": "path"},
    "archive_size_bytes": {"type": "int"},
    "archive_sha256": {"type": "str"},
}
NEEDED = [
    "environment_type",
    "url",
    *SECRETS_SPEC,
    "wp_cli",
    "backup",
    "scope",
    "archive",
    "archive_size_bytes",
    "archive_sha256",
]


class Watch:
    """Measures steps that follow one another."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self._begun = time.monotonic()
        self._name = ""

    def __call__(self, name: str) -> None:
        now = time.monotonic()
        if self._name:
            self.steps[self._name] = round((now - self._begun) * 1000)
        self._name, self._begun = name, now


def would_change(environment: Environment, params: dict) -> bool:
    journal = journals.read(environment)
    if params["state"] != "restored":
        return journal is not None
    return journal is None or journal.backup != params["backup"] or journal.phase != "switched"


def work(environment: Environment, params: dict, watch: Watch) -> bool:
    if params["state"] == "kept":
        return kept(environment)
    if params["state"] == "rolled_back":
        return rolled_back(environment)
    url_host(params["url"])
    names = ("environment_type", "url", "wp_cli", "backup", "scope", "archive", "archive_size_bytes", "archive_sha256")
    request = Request(
        environment=environment, secrets={name: params[name] for name in SECRETS_SPEC}, **{name: params[name] for name in names}
    )
    return restored(request, watch)


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, required_if=[("state", "restored", NEEDED)], supports_check_mode=True)
    os.umask(0o022)
    watch = Watch()
    try:
        environment = Environment(module.params["site"], module.params["environment"])
        with environment.locked():
            changed = would_change(environment, module.params) if module.check_mode else work(environment, module.params, watch)
        watch("")
    except SiteError as error:
        fail(module, error)
    module.exit_json(changed=changed, pressluft={"changed": changed}, steps=watch.steps)


if __name__ == "__main__":
    main()
