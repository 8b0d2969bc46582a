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
    known = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "StateChangeTimestamp": CHANGED_AT,
        "NeedDaemonReload": "no",
    }
    return {**known, **changes}


def needed(state: dict, newest_config: float, apply: str, proved: bool = True) -> list[str]:
    return service.needed_actions(state, newest_config, apply, lambda: proved)


class NeededActions(unittest.TestCase):
    def test_a_time_of_systemd_is_read_to_the_microsecond(self):
        self.assertEqual(service.parse_timestamp(CHANGED_AT), CHANGED_AT_SECONDS)

    def test_a_unit_that_never_ran_has_no_time(self):
        self.assertEqual(service.parse_timestamp(""), 0.0)
        self.assertEqual(service.parse_timestamp("n/a"), 0.0)

    def test_a_running_service_with_older_configuration_is_left_alone(self):
        self.assertEqual(needed(unit(), CHANGED_AT_SECONDS - 0.1, "restart"), [])

    def test_a_running_service_without_configuration_is_left_alone(self):
        self.assertEqual(needed(unit(), service.newest([]), "restart"), [])

    def test_configuration_written_after_the_start_is_applied_as_asked(self):
        self.assertEqual(needed(unit(), CHANGED_AT_SECONDS + 0.1, "restart"), ["restart"])
        self.assertEqual(needed(unit(), CHANGED_AT_SECONDS + 0.1, "reload"), ["reload"])

    def test_a_stopped_or_failed_service_is_started_whatever_its_configuration(self):
        for state in ("inactive", "failed", "deactivating"):
            with self.subTest(state=state):
                self.assertEqual(needed(unit(ActiveState=state), 0.0, "reload"), ["start"])

    def test_a_disabled_service_is_enabled(self):
        self.assertEqual(needed(unit(UnitFileState="disabled"), 0.0, "restart"), ["enable"])

    def test_a_running_service_whose_proof_fails_applies_its_configuration_anew(self):
        self.assertEqual(needed(unit(), 0.0, "reload", proved=False), ["reload"])
        self.assertEqual(needed(unit(ActiveState="inactive"), 0.0, "reload", proved=False), ["start"])

    def test_a_masked_service_is_unmasked_enabled_and_started(self):
        masked = unit(LoadState="masked", UnitFileState="masked", ActiveState="inactive", StateChangeTimestamp="")
        self.assertEqual(needed(masked, 0.0, "restart"), ["unmask", "enable", "start"])

    def test_changed_unit_files_are_read_before_anything_else(self):
        changed = unit(NeedDaemonReload="yes", UnitFileState="disabled")
        self.assertEqual(needed(changed, CHANGED_AT_SECONDS + 0.1, "restart"), ["daemon-reload", "enable", "restart"])


class Newest(unittest.TestCase):
    def test_the_youngest_path_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("one", "other")]
            for path in paths:
                path.touch()
            times = {os.stat(path).st_ctime for path in paths}
            self.assertEqual(service.newest([str(path) for path in paths]), max(times))

    def test_a_file_that_is_given_the_time_of_an_older_one_is_young_all_the_same(self):
        with tempfile.NamedTemporaryFile() as file:
            os.utime(file.name, (100, 100))
            self.assertGreater(service.newest([file.name]), 100)

    def test_a_missing_path_is_an_error(self):
        with self.assertRaises(OSError):
            service.newest(["/nonexistent/configuration"])


if __name__ == "__main__":
    unittest.main()
