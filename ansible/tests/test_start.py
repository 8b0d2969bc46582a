"""What Python does before a run begins. Run as `tests/__init__.py` says."""

import os
import subprocess
import sys
import unittest

START = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "start")
# As many objects in cycles as a run leaves while it loads ansible.
SCRIPT = """
import gc
def make(count):
    before = sum(kind["collections"] for kind in gc.get_stats())
    for _ in range(count):
        one = []
        one.append(one)
    return sum(kind["collections"] for kind in gc.get_stats()) - before
print(make(200_000), make(1_000_000) > 0)
"""


class Start(unittest.TestCase):
    def test_a_short_run_does_not_look_for_cycles_and_a_long_one_does(self):
        env = {"PYTHONPATH": START, "PYTHONDONTWRITEBYTECODE": "1"}
        said = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "0 True\n")


if __name__ == "__main__":
    unittest.main()
