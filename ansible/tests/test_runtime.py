"""What the module pressluft_runtime takes for an up-to-date node, and every way in which a node ceases to be one."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import time
import unittest
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import yaml

ANSIBLE_DIR = Path(__file__).resolve().parent.parent
SOURCE = ANSIBLE_DIR / "library" / "pressluft_runtime.py"
_spec = importlib.util.spec_from_file_location("pressluft_runtime", SOURCE)
runtime = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runtime)

KEY = "a" * 64
NFT = ["nft", "list", "table", "inet", "pressluft"]


class Machine:
    """A folder for files, and what dpkg-query, systemctl and other commands would say."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = str(folder / "runtime.json")
        self.packages = {"nginx": "installed", "php8.2-fpm": "installed"}
        self.units = {name: self.unit() for name in ("nginx", "mariadb")}
        self.outputs = {tuple(NFT): (0, "table inet pressluft {}\n")}
        self.started = []
        self.config = self.write("nginx.conf", "listen 80;", 0o644)
        self.secret = self.write("etc/redis.password", "hunter2", 0o600)
        self.link = str(folder / "os-release")
        os.symlink("nginx.conf", self.link)
        self.wanted = {
            "files": [self.config, self.link, str(folder)],
            "absent": [str(folder / "default")],
            "secrets": [str(folder / "etc")],
            "packages": list(self.packages),
            "services": list(self.units),
            "commands": [NFT],
        }
        os.chmod(folder, 0o755)

    def write(self, name: str, text: str, mode: int) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    @staticmethod
    def unit(started: float | None = None, **changes) -> dict:
        moment = datetime.fromtimestamp(started or time.time() + 5, timezone.utc)
        return {
            "LoadState": "loaded",
            "ActiveState": "active",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "no",
            "StateChangeTimestamp": moment.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC"),
            **changes,
        }

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        self.started.append(argv[0])
        if argv[0] == "dpkg-query":
            names = argv[argv.index("--") + 1 :]
            known = [f"{self.packages[name]} {name}\n" for name in names if name in self.packages]
            return int(len(known) < len(names)), "".join(known), ""
        if argv[0] == "systemctl":
            missing = self.unit(LoadState="not-found", ActiveState="inactive", UnitFileState="", StateChangeTimestamp="")
            units = [self.units.get(name, missing) for name in argv[argv.index("--") + 1 :]]
            return 0, "\n".join("".join(f"{key}={value}\n" for key, value in unit.items()) for unit in units), ""
        return *self.outputs[tuple(argv)], ""

    def record(self) -> dict:
        return runtime.Runtime(self.run).record(KEY, self.wanted)

    def write_record(self) -> None:
        runtime.write_record(self.path, self.record())

    def check(self, key: str = KEY) -> tuple[bool, str]:
        return runtime.check(runtime.Runtime(self.run), key, self.path)


class WithMachine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.machine = Machine(Path(folder.name))
        self.machine.write_record()
        self.assertEqual(self.machine.check(), (True, ""))

    def assert_not_current(self, reason: str, key: str = KEY):
        current, told = self.machine.check(key)
        self.assertFalse(current, "the drift was not seen")
        self.assertIn(reason, told)


class Current(WithMachine):
    def test_an_unchanged_machine_is_asked_once_about_all_packages_and_once_about_all_services(self):
        self.machine.started.clear()
        self.machine.check()
        self.assertEqual(self.machine.started, ["dpkg-query", "systemctl", "nft"])

    def test_a_copy_of_a_machine_whose_services_started_after_the_copy_is_current(self):
        record = self.machine.record()
        for seen in record["files"].values():
            if "changed_ns" in seen:
                seen["changed_ns"] -= 10**12
        runtime.write_record(self.machine.path, record)
        self.assertEqual(self.machine.check(), (True, ""))

    def test_what_a_secret_holds_is_neither_recorded_nor_compared(self):
        self.assertNotIn("sha256", self.machine.record()["secrets"][self.machine.secret])
        Path(self.machine.secret).write_text("another")
        self.assertEqual(self.machine.check(), (True, ""))

    def test_new_entries_of_a_directory_are_no_drift(self):
        self.machine.write("site.conf", "server {}", 0o644)
        self.assertEqual(self.machine.check(), (True, ""))

    def test_a_machine_of_which_nothing_is_recorded_is_asked_nothing(self):
        self.machine.wanted = dict.fromkeys(self.machine.wanted, [])
        self.machine.write_record()
        self.machine.started.clear()
        self.assertEqual(self.machine.check(), (True, ""))
        self.assertEqual(self.machine.started, [])


class Drift(WithMachine):
    def test_another_key(self):
        self.assert_not_current("another version", key="b" * 64)

    def test_a_changed_file(self):
        Path(self.machine.config).write_text("listen 81;")
        self.assert_not_current("nginx.conf has another sha256")

    def test_a_missing_file(self):
        os.unlink(self.machine.config)
        self.assert_not_current("nginx.conf is not there")

    def test_another_mode(self):
        os.chmod(self.machine.config, 0o666)
        self.assert_not_current("nginx.conf has another mode")

    def test_another_mode_of_a_directory(self):
        os.chmod(self.machine.folder, 0o777)
        self.assert_not_current("has another mode")

    def test_another_owner(self):
        lstat = os.lstat
        for index, name in ((4, "uid"), (5, "gid")):

            def owned_by_another(path, index=index):
                status = list(lstat(path)[:10])
                status[index] += 1
                return os.stat_result(status)

            with self.subTest(name=name), mock.patch.object(runtime.os, "lstat", owned_by_another):
                self.assert_not_current(f"has another {name}")

    def test_a_file_that_became_a_link_to_the_same_content(self):
        os.rename(self.machine.config, self.machine.folder / "moved.conf")
        os.symlink("moved.conf", self.machine.config)
        self.assert_not_current("nginx.conf has another")

    def test_a_link_that_leads_elsewhere(self):
        os.unlink(self.machine.link)
        os.symlink("etc/redis.password", self.machine.link)
        self.assert_not_current("os-release has another target")

    def test_a_file_that_was_changed_and_changed_back_since_a_service_started(self):
        for unit in self.machine.units.values():
            unit.update(self.machine.unit(started=time.time() - 60))
        self.assertEqual(self.machine.check(), (True, ""))
        kept = self.machine.folder / "kept"
        os.link(self.machine.config, kept)
        os.replace(kept, self.machine.config)
        os.utime(self.machine.config, (1, 1))
        self.assert_not_current("a file has changed since")

    def test_something_where_nothing_may_be(self):
        self.machine.write("default", "", 0o644)
        self.assert_not_current("default is there")
        os.unlink(self.machine.folder / "default")
        os.symlink("nowhere", self.machine.folder / "default")
        self.assert_not_current("default is there")

    def test_a_missing_secret(self):
        os.unlink(self.machine.secret)
        self.assert_not_current("redis.password is not there")

    def test_a_secret_that_others_may_read(self):
        os.chmod(self.machine.secret, 0o644)
        self.assert_not_current("redis.password has another mode")

    def test_a_removed_package(self):
        self.machine.packages["nginx"] = "config-files"
        self.assert_not_current("the package nginx is not installed")
        del self.machine.packages["nginx"]
        self.assert_not_current("the package nginx is not installed")

    def test_a_package_that_is_half_installed(self):
        self.machine.packages["nginx"] = "half-configured"
        self.assert_not_current("the package nginx is not installed")

    def test_a_service_that_does_not_run(self):
        for state in ("inactive", "failed", "activating", "deactivating", "reloading"):
            with self.subTest(state=state):
                self.machine.units["mariadb"]["ActiveState"] = state
                self.assert_not_current(f"the service mariadb is {state}")

    def test_a_service_that_does_not_start_with_the_machine(self):
        for state in ("disabled", "masked", "masked-runtime", "indirect", "bad", ""):
            with self.subTest(state=state):
                self.machine.units["mariadb"]["UnitFileState"] = state
                self.assert_not_current(f"the service mariadb is {state}")

    def test_a_service_without_its_unit(self):
        del self.machine.units["mariadb"]
        self.assert_not_current("the unit mariadb is not-found")

    def test_a_unit_that_changed_on_disk(self):
        self.machine.units["mariadb"]["NeedDaemonReload"] = "yes"
        self.assert_not_current("the unit of mariadb has changed")

    def test_a_command_that_fails(self):
        self.machine.outputs[tuple(NFT)] = (1, "")
        self.assert_not_current("`nft list table inet pressluft` fails")

    def test_a_command_that_prints_something_else(self):
        self.machine.outputs[tuple(NFT)] = (0, "table inet pressluft { open }\n")
        self.assert_not_current("`nft list table inet pressluft` prints something else")

    def test_a_program_that_is_gone(self):
        del self.machine.outputs[tuple(NFT)]
        self.assert_not_current("it cannot be told")

    def test_systemd_that_does_not_answer(self):
        run = self.machine.run
        for answer in ((1, "", "no bus"), (0, "", ""), (0, "garbage\n\ngarbage\n", "")):
            with self.subTest(answer=answer):
                self.machine.run = lambda argv, answer=answer: answer if argv[0] == "systemctl" else run(argv)
                self.assertFalse(self.machine.check()[0])


class Record(WithMachine):
    def test_a_record_that_is_missing_or_of_another_shape_is_no_proof_and_no_error(self):
        record = self.machine.record()
        shapes = ["", "{", "null", "[]", "7", "{}", json.dumps({"key": KEY}), "\udcff"]
        shapes += [json.dumps({**record, name: 7}) for name in record]
        shapes += [json.dumps({name: value for name, value in record.items() if name != gone}) for gone in record]
        shapes += [json.dumps({**record, "files": {self.machine.config: None}})]
        for shape in shapes:
            with self.subTest(shape=shape[:60]):
                Path(self.machine.path).write_bytes(shape.encode("utf-8", "surrogateescape"))
                current, reason = self.machine.check()
                self.assertFalse(current)
                self.assertTrue(reason)
        os.unlink(self.machine.path)
        self.assert_not_current("runtime.json is not there")

    def test_a_record_that_others_may_write_or_read_is_no_proof(self):
        for mode in (0o640, 0o620, 0o604, 0o602):
            with self.subTest(mode=oct(mode)):
                os.chmod(self.machine.path, mode)
                self.assert_not_current("is not private")

    def test_a_record_is_private_complete_and_alone_in_its_folder(self):
        before = set(os.listdir(self.machine.folder))
        self.machine.write_record()
        self.assertEqual(os.stat(self.machine.path).st_mode & 0o777, 0o600)
        self.assertEqual(set(os.listdir(self.machine.folder)), before)
        self.assertEqual(json.loads(Path(self.machine.path).read_text()), self.machine.record())

    def test_the_same_machine_gives_the_same_record(self):
        self.assertTrue(runtime.is_recorded(self.machine.path, self.machine.record()))
        os.chmod(self.machine.config, 0o600)
        self.assertFalse(runtime.is_recorded(self.machine.path, self.machine.record()))

    def test_no_secret_stands_in_the_record(self):
        self.assertNotIn("hunter2", Path(self.machine.path).read_text())

    def test_a_path_that_is_not_there_cannot_be_recorded(self):
        for kind in ("files", "secrets"):
            with self.subTest(kind=kind):
                wanted = {**self.machine.wanted, kind: ["/nonexistent/file"]}
                with self.assertRaises(FileNotFoundError):
                    runtime.Runtime(self.machine.run).record(KEY, wanted)

    def record_again(self, check_mode: bool = False) -> bool:
        machine = self.machine
        return runtime.record(runtime.Runtime(machine.run), KEY, machine.path, machine.wanted, check_mode)

    def test_recording_again_changes_only_what_differs(self):
        self.assertFalse(self.record_again())
        os.chmod(self.machine.config, 0o600)
        self.assertTrue(self.record_again(check_mode=True))
        self.assert_not_current("another mode")
        self.assertTrue(self.record_again())
        self.assertEqual(self.machine.check(), (True, ""))
        self.assertFalse(self.record_again())

    def test_a_machine_that_would_not_pass_the_check_is_not_recorded(self):
        before = Path(self.machine.path).read_text()
        self.machine.outputs[tuple(NFT)] = (1, "")
        self.machine.units["nginx"]["ActiveState"] = "failed"
        with self.assertRaisesRegex(runtime.NotAsMade, "the service nginx is failed"):
            self.record_again()
        self.machine.units["nginx"]["ActiveState"] = "active"
        with self.assertRaisesRegex(runtime.NotAsMade, "`nft list table inet pressluft` fails"):
            self.record_again()
        self.assertEqual(Path(self.machine.path).read_text(), before)


class Playbook(unittest.TestCase):
    def setUp(self):
        self.play = yaml.safe_load((ANSIBLE_DIR / "playbooks" / "node-provision.yml").read_text())[0]

    def test_the_check_comes_before_everything_and_the_record_after_everything(self):
        first, last = self.play["pre_tasks"][0], self.play["post_tasks"][-1]
        self.assertEqual(first["pressluft_runtime"]["state"], "check")
        self.assertEqual(self.play["pre_tasks"][1]["ansible.builtin.meta"], "end_host")
        self.assertEqual(last["pressluft_runtime"]["state"], "record")
        self.assertEqual(first["pressluft_runtime"]["key"], last["pressluft_runtime"]["key"])

    def test_the_packages_of_every_role_are_installed_and_recorded(self):
        for role in sorted((ANSIBLE_DIR / "roles").iterdir()):
            defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
            if role.name != "base" and f"{role.name}_packages" in defaults:
                with self.subTest(role=role.name):
                    self.assertIn(f"{role.name}_packages", self.play["vars"]["node_packages"])


if __name__ == "__main__":
    unittest.main()
