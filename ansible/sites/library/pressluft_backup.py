#!/usr/bin/python
"""Makes a backup of an environment: one file on its node, which the control plane fetches. How: `pressluft_backup_make`."""

from __future__ import annotations

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pressluft_backup_make import Request, already_made, make
from ansible.module_utils.pressluft_site import Environment, SiteError, fail, url_host

DOCUMENTATION = r"""
module: pressluft_backup
short_description: Makes a backup of an environment
description:
  - Dumps the database, then packs it with the code and the uploads into one file, C(/var/lib/pressluft/staging/<backup>.tar.zst).
    Holds no secret of the environment.
  - A backup that is there already is reported again. Can be repeated after it was ended at any point. Supports check mode.
author: Pressluft
options:
  site:
    description: The short id of the site.
    type: str
    required: true
  environment:
    description: The short id of the environment.
    type: str
    required: true
  backup:
    description: The short id of the backup.
    type: str
    required: true
  scope:
    description: What is backed up.
    type: str
    choices: [db, files, full]
    required: true
  url:
    description: The environment's address.
    type: str
    required: true
  as_far_as_there:
    description: Whether a part that is not there is recorded as missing in the backup, and is no failure.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Back up an environment
  pressluft_backup:
    site: 0123456789ab
    environment: ba9876543210
    backup: 00112233aabb
    scope: full
    url: http://ba9876543210.192-0-2-7.sslip.io
"""

RETURN = r"""
pressluft:
  description: What the control plane takes, C(path), C(size_bytes) and C(sha256) of the file.
  type: dict
  returned: success, but not in check mode where there is none yet
duration_ms:
  description: How long it took.
  type: int
  returned: success
"""

SPEC = {
    "site": {"type": "str", "required": True},
    "environment": {"type": "str", "required": True},
    "backup": {"type": "str", "required": True},
    "scope": {"type": "str", "choices": ["db", "files", "full"], "required": True},
    "url": {"type": "str", "required": True},
    "as_far_as_there": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    os.umask(0o022)
    params = module.params
    begun = time.monotonic()
    try:
        url_host(params["url"])
        environment = Environment(params["site"], params["environment"])
        request = Request(environment, params["backup"], params["scope"], params["url"], params["as_far_as_there"])
        if module.check_mode:
            made = already_made(request)
            module.exit_json(changed=made is None, pressluft=made)
        with environment.locked():
            result, changed = make(request)
    except SiteError as error:
        fail(module, error)
    module.exit_json(changed=changed, pressluft=result, duration_ms=round((time.monotonic() - begun) * 1000))


if __name__ == "__main__":
    main()
