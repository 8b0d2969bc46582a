"""The lines that the control plane reads: whole, in order, bounded, and silent about secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ANSIBLE_DIR = Path(__file__).resolve().parent.parent

PLAYBOOK = """
- name: Try the events
  hosts: all
  gather_facts: false
  tasks:
    - name: Fine
      ansible.builtin.command: /bin/true
      changed_when: false
    - name: Changing
      ansible.builtin.command: /bin/true
      changed_when: true
    - name: Skipped
      ansible.builtin.command: /bin/true
      when: false
    - name: Ignored
      ansible.builtin.command: /bin/false
      ignore_errors: true
    - name: Secret
      ansible.builtin.shell: echo s3cret-argument >&2; exit 1
      no_log: true
      ignore_errors: true
    - name: Secret loop
      ansible.builtin.shell: echo s3cret-{{ item }} >&2; exit 1
      loop: [item]
      no_log: true
      ignore_errors: true
    - name: Loop
      ansible.builtin.shell: echo second line of {{ item }} >&2; test {{ item }} = one
      loop: [one, two]
      ignore_errors: true
    - name: Tried again
      ansible.builtin.command: /bin/false
      register: again
      until: again.rc == 0
      retries: 1
      delay: 0
      ignore_errors: true
    - name: Rescued
      block:
        - name: Failing in a block
          ansible.builtin.command: /bin/false
      rescue:
        - name: After the rescue
          ansible.builtin.command: /bin/true
          changed_when: false
    - name: Long
      ansible.builtin.fail:
        msg: "{{ 'ä' * 5000 }}"
"""


def run(playbook: str, inventory: str, files: dict[str, str] | None = None) -> tuple[int, list[dict], str]:
    """Runs `playbook` beside `files`; its exit status, its events, and all that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "inventory.yml").write_text(inventory)
        (Path(folder) / "playbook.yml").write_text(playbook)
        for name, text in (files or {}).items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_text(text)
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.yml", "playbook.yml"],
            cwd=folder,
            env={
                "PATH": os.defpath,
                "HOME": folder,
                "ANSIBLE_REMOTE_TEMP": f"{folder}/remote",
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_CONFIG": str(ANSIBLE_DIR / "ansible.cfg"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stdout + done.stderr


class EventsOfARun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.status, cls.events, cls.output = run(PLAYBOOK, "all: {hosts: {here: {ansible_connection: local}}}")

    def ends(self, task: str) -> list[dict]:
        return [event for event in self.events if event.get("task") == task and event["event"] not in ("task_start", "task_retried")]

    def test_the_first_line_names_the_play_and_the_last_holds_the_counts(self):
        self.assertEqual(self.events[0], {"event": "play_start", "name": "Try the events"})
        counts = self.events[-1]["hosts"]["here"]
        self.assertEqual(self.events[-1]["event"], "stats")
        self.assertEqual(
            (counts["ok"], counts["changed"], counts["failed"], counts["unreachable"], counts["ignored"], counts["rescued"]),
            (8, 6, 1, 0, 5, 1),
        )

    def test_each_task_starts_before_it_ends(self):
        order = [(event["event"], event["task"]) for event in self.events if event.get("task") == "Fine"]
        self.assertEqual(order, [("task_start", "Fine"), ("task_ok", "Fine")])

    def test_a_change_is_told_from_no_change_and_takes_time(self):
        self.assertFalse(self.ends("Fine")[0]["changed"])
        self.assertTrue(self.ends("Changing")[0]["changed"])
        self.assertGreater(self.ends("Changing")[0]["duration_ms"], 0)

    def test_a_skipped_task_is_skipped(self):
        self.assertEqual(self.ends("Skipped")[0]["event"], "task_skipped")

    def test_an_ignored_failure_is_no_failure(self):
        self.assertEqual(self.ends("Ignored")[0]["event"], "task_ignored")
        self.assertEqual(
            [event["task"] for event in self.events if event["event"] == "task_failed"], ["Failing in a block", "Long"]
        )

    def test_a_retry_is_an_event_of_its_own(self):
        retried = [event for event in self.events if event["event"] == "task_retried"]
        self.assertEqual([(event["task"], event["attempt"]) for event in retried], [("Tried again", 1)])

    def test_a_failure_without_a_code_of_the_control_plane_has_none(self):
        self.assertNotIn("code", self.ends("Long")[0])
        self.assertNotIn("result", [event["event"] for event in self.events])

    def test_a_failed_command_tells_its_message_apart_from_its_output(self):
        end = self.ends("Failing in a block")[0]
        self.assertEqual((end["msg"], end["output"]), ("non-zero return code", None))

    def test_a_failing_loop_says_which_message_its_item_gave(self):
        self.assertIn("second line of two", self.ends("Loop")[0]["output"])

    def test_no_log_hides_messages_of_tasks_and_of_their_items(self):
        self.assertNotIn("s3cret", self.output)
        for task in ("Secret", "Secret loop"):
            end = self.ends(task)[0]
            self.assertEqual((end["msg"], end["output"]), ("hidden, as the task says no_log", None))

    def test_arguments_of_modules_never_appear(self):
        self.assertNotIn("/bin/true", self.output)
        self.assertNotIn("invocation", self.output)

    def test_a_long_message_is_cut_at_two_kilobytes(self):
        message = self.ends("Long")[0]["msg"]
        self.assertLessEqual(len(message.encode()), 2048)
        self.assertTrue(message.endswith("…"))

    def test_the_run_ends_as_ansible_says_for_failed_hosts(self):
        self.assertEqual(self.status, 2)


MODULE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={"code": {"type": "str"}, "secret": {"type": "str", "no_log": True}})
if module.params["code"]:
    module.fail_json(msg="no: " + module.params["secret"], pressluft_code=module.params["code"])
module.exit_json(changed=True, other="not for the control plane", pressluft={"path": "/x", "size_bytes": 3})
"""


class EventsOfAModuleOfTheControlPlane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        playbook = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: Gives, typed: {secret: s3cret}}
    - {name: Hidden, typed: {secret: s3cret}, no_log: true}
    - {name: Fails, typed: {code: WP_CLI_FAILED, secret: s3cret}}
"""
        inventory = "all: {hosts: {here: {ansible_connection: local}}}"
        cls.status, cls.events, cls.output = run(playbook, inventory, {"library/typed.py": MODULE})

    def test_what_it_returns_for_the_control_plane_is_an_event_before_the_end_of_its_task(self):
        order = [event["event"] for event in self.events if event["event"] in ("task_start", "result", "task_ok")]
        self.assertEqual(order, ["task_start", "result", "task_ok", "task_start", "task_ok", "task_start"])
        self.assertIn({"event": "result", "data": {"path": "/x", "size_bytes": 3}}, self.events)

    def test_nothing_else_of_what_it_returns_appears(self):
        self.assertNotIn("not for the control plane", self.output)
        self.assertNotIn("s3cret", self.output)

    def test_its_code_is_told_with_its_failure(self):
        failed = [event for event in self.events if event["event"] == "task_failed"]
        self.assertEqual([(event["task"], event["code"]) for event in failed], [("Fails", "WP_CLI_FAILED")])


class EventsOfOtherEnds(unittest.TestCase):
    def test_an_unreachable_host_is_told_from_a_failed_one(self):
        inventory = (
            "all: {hosts: {there: {ansible_host: 127.0.0.1, ansible_port: 1, "
            "ansible_ssh_common_args: '-o StrictHostKeyChecking=yes -o BatchMode=yes'}}}"
        )
        status, events, _ = run("- {hosts: all, gather_facts: false, tasks: [{name: Reach, ansible.builtin.ping: {}}]}", inventory)
        self.assertEqual(status, 4)
        unreachable = [event for event in events if event["event"] == "task_unreachable"]
        self.assertEqual([(event["task"], event["host"]) for event in unreachable], [("Reach", "there")])
        self.assertIn("refused", unreachable[0]["msg"].lower())
        self.assertEqual(events[-1]["hosts"]["there"]["unreachable"], 1)

    def test_a_play_without_hosts_says_so(self):
        status, events, _ = run("- {hosts: nowhere, gather_facts: false}", "all: {hosts: {here: {}}}")
        self.assertEqual(status, 0)
        self.assertIn({"event": "no_hosts"}, events)

    def test_a_playbook_that_cannot_be_parsed_gives_no_events(self):
        status, events, _ = run("- hosts: [", "all: {hosts: {here: {}}}")
        self.assertEqual((status, events), (4, []))


if __name__ == "__main__":
    unittest.main()
