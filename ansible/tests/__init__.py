"""Tests of what is under ansible/ without a node. Run: .venv/bin/python -m unittest discover -s ansible/tests -t ansible"""

from pathlib import Path

import ansible.module_utils

# As Ansible does with what `module_utils` of ansible.cfg names.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parent.parent / "module_utils"))
