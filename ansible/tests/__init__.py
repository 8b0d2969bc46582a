"""Tests of what is under ansible/ without a node. Run: .venv/bin/python -m unittest discover -s ansible/tests -t ansible"""

from pathlib import Path

import ansible.module_utils

# As Ansible does with what `module_utils` of ansible.cfg names.
_ANSIBLE_DIR = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__ += [str(_ANSIBLE_DIR / "module_utils"), str(_ANSIBLE_DIR / "sites" / "module_utils")]
