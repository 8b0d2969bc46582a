"""Who passes the gate of an environment's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest

from ansible.module_utils import pressluft_site_gate as gate


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be other users")
class Gate(unittest.TestCase):
    def test_root_nginx_and_the_environments_user_pass_and_nobody_else(self):
        with tempfile.TemporaryDirectory() as above:
            os.chmod(above, 0o755)
            folder = f"{above}/environment"
            os.mkdir(folder, 0o710)
            shutil.chown(folder, "root", "www-data")
            with open(f"{folder}/file", "w", encoding="utf-8"):
                pass
            gate.close_to_others(folder, "games")

            def passes(user: str) -> bool:
                command = ["test", "-r", f"{folder}/file"]
                return subprocess.run(command, user=user, group=user, extra_groups=[], check=False).returncode == 0

            passing = [user for user in ("root", "www-data", "games", "mail") if passes(user)]
            self.assertEqual(passing, ["root", "www-data", "games"])
            listing = subprocess.run(["ls", folder], user="games", group="games", capture_output=True, check=False)
            self.assertNotEqual(listing.returncode, 0, "who passes sees nothing of what is there")
