"""What the module pressluft_service decides from the state of a unit."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "library" / "pressluft_service.py"
_spec = importlib.util.spec_from_file_location("pressluft_service", SOURCE)
service = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(service)

CHANGED_AT = "Sun 2026-11-22 03:57:54.500000 UTC"
CHANGED_AT_SECONDS = 1795319874.5


def unit(**changes) -> dict:
    return {"ActiveState": "active", "UnitFileState": "enabled", "StateChangeTimestamp": CHANGED_AT, **changes}


class NeededActions(unittest.TestCase):
    def test_a_time_of_systemd_is_read_to_the_microsecond(self):
        self.assertEqual(service.parse_timestamp(CHANGED_AT), CHANGED_AT_SECONDS)

    def test_a_unit_that_never_ran_has_no_time(self):
        self.assertEqual(service.parse_timestamp(""), 0.0)
        self.assertEqual(service.parse_timestamp("n/a"), 0.0)

    def test_a_running_service_with_older_configuration_is_left_alone(self):
        self.assertEqual(service.needed_actions(unit(), CHANGED_AT_SECONDS - 0.1, "restart"), [])

    def test_a_running_service_without_configuration_is_left_alone(self):
        self.assertEqual(service.needed_actions(unit(), service.newest([]), "restart"), [])

    def test_configuration_written_after_the_start_is_applied_as_asked(self):
        self.assertEqual(service.needed_actions(unit(), CHANGED_AT_SECONDS + 0.1, "restart"), ["restart"])
        self.assertEqual(service.needed_actions(unit(), CHANGED_AT_SECONDS + 0.1, "reload"), ["reload"])

    def test_a_stopped_or_failed_service_is_started_whatever_its_configuration(self):
        for state in ("inactive", "failed", "deactivating"):
            with self.subTest(state=state):
                self.assertEqual(service.needed_actions(unit(ActiveState=state), 0.0, "reload"), ["start"])

    def test_a_disabled_service_is_enabled(self):
        self.assertEqual(service.needed_actions(unit(UnitFileState="disabled"), 0.0, "restart"), ["enable"])


class Newest(unittest.TestCase):
    def test_the_youngest_path_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, seconds in (("old", 100), ("young", 200)):
                path = Path(folder) / name
                path.touch()
                os.utime(path, (seconds, seconds))
            self.assertEqual(service.newest([f"{folder}/old", f"{folder}/young"]), 200)

    def test_a_missing_path_is_an_error(self):
        with self.assertRaises(OSError):
            service.newest(["/nonexistent/configuration"])


if __name__ == "__main__":
    unittest.main()
