"""Writes what happens in a run as JSON, one object a line on standard output, while it happens.

The lines are read by the control plane, which shows them and classifies the end of the run by them. Every line has `event`:

    play_start        name
    no_hosts          a play matched no host
    task_start        task, role, handler
    task_ok           task, role, host, changed, duration_ms
    task_skipped      task, role, host, duration_ms
    task_retried      task, role, host, attempt, msg, output
    task_ignored      task, role, host, duration_ms, msg, output: it failed and the playbook goes on (ignore_errors and alike)
    task_failed       task, role, host, duration_ms, msg, output, and code where the module names one of the control plane's
    result            data: what the module returned for the control plane as `pressluft`, before the end of its task
    task_unreachable  task, role, host, duration_ms, msg, output
    stats             hosts: {name: {ok, changed, failed, unreachable, skipped, rescued, ignored}}

Arguments of modules never appear, and of their results only `pressluft`, a dict without secrets, and `pressluft_code`. `msg` is
the result's own message and `output` the last lines of what a command wrote to standard error (null where there are none), each
at most 2 KiB, and hidden where `no_log` says so. The validation of a role's arguments is only told where it fails, and what
steers the play itself (meta) not at all: it has no end.
"""

from __future__ import annotations

import json
import sys
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: pressluft_events
    type: stdout
    short_description: one JSON object a line while things happen
    description:
      - Writes play, task and host events as JSON lines to standard output.
"""

MAX_MSG_BYTES = 2048
MAX_NAME_BYTES = 256
HIDDEN = "hidden, as the task says no_log"
QUIET_ACTIONS = ("ansible.builtin.validate_argument_spec", "validate_argument_spec", "ansible.builtin.meta", "meta")


def shorten(text: object, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8, cut at a character and marked where something is missing."""
    raw = str(text).encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    mark = "…"
    return raw[: limit - len(mark.encode())].decode("utf-8", "ignore") + mark


def last_lines(text: object) -> str:
    """The end of what a program wrote: its last line alone is often only a summary."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return " / ".join(lines[-3:])


def is_hidden(task, result: dict) -> bool:
    return bool(result.get("_ansible_no_log") or "censored" in result or task.no_log)


def reason_of(task, result: dict) -> dict:
    """What went wrong, as the fields `msg` and `output`, without anything that the task wants hidden."""
    items = result.get("results") or []
    failed = [item for item in items if isinstance(item, dict) and (item.get("failed") or item.get("unreachable"))]
    if is_hidden(task, result):
        return {"msg": HIDDEN, "output": None}
    if failed:
        # The loop's own message only says that an item failed.
        return reason_of(task, failed[0])
    message = str(result.get("msg") or "").strip() or "no message"
    output = last_lines(result.get("stderr") or result.get("module_stderr"))
    return {"msg": shorten(message, MAX_MSG_BYTES), "output": shorten(output, MAX_MSG_BYTES) or None}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "pressluft_events"

    def __init__(self, display=None, options=None, out=None, clock=time.monotonic):
        super().__init__(display=display, options=options)
        self._out = out or sys.stdout
        self._clock = clock
        self._started: dict[tuple[str, str], float] = {}

    def _write(self, event: str, **fields) -> None:
        self._out.write(json.dumps({"event": event, **fields}, ensure_ascii=True, separators=(",", ":")) + "\n")
        self._out.flush()

    def _task(self, task) -> dict:
        role = getattr(task, "_role", None)
        return {
            "task": shorten(task.name or task.action, MAX_NAME_BYTES),
            "role": shorten(role.get_name(), MAX_NAME_BYTES) if role else None,
        }

    def _end(self, event: str, result, **fields) -> None:
        host = result.host.get_name()
        started = self._started.pop((host, result.task._uuid), None)
        duration = round((self._clock() - started) * 1000) if started is not None else None
        self._write(event, **self._task(result.task), host=host, duration_ms=duration, **fields)

    def v2_playbook_on_play_start(self, play):
        self._write("play_start", name=shorten(play.get_name(), MAX_NAME_BYTES))

    def v2_playbook_on_no_hosts_matched(self):
        self._write("no_hosts")

    def v2_playbook_on_task_start(self, task, is_conditional):
        if task.action in QUIET_ACTIONS:
            return
        self._write("task_start", **self._task(task), handler=False)

    def v2_playbook_on_handler_task_start(self, task):
        self._write("task_start", **self._task(task), handler=True)

    def v2_runner_on_start(self, host, task):
        self._started[(host.get_name(), task._uuid)] = self._clock()

    def v2_runner_on_ok(self, result):
        if result.task.action in QUIET_ACTIONS:
            return
        data = result.result.get("pressluft")
        if isinstance(data, dict) and not is_hidden(result.task, result.result):
            self._write("result", data=data)
        self._end("task_ok", result, changed=result.is_changed())

    def v2_runner_on_skipped(self, result):
        if result.task.action in QUIET_ACTIONS:
            return
        self._end("task_skipped", result)

    def v2_runner_retry(self, result):
        self._write(
            "task_retried",
            **self._task(result.task),
            host=result.host.get_name(),
            attempt=int(result.result.get("attempts") or 0),
            **reason_of(result.task, result.result),
        )

    def v2_runner_on_failed(self, result, ignore_errors=False):
        reason = reason_of(result.task, result.result)
        code = result.result.get("pressluft_code")
        if ignore_errors:
            self._end("task_ignored", result, **reason)
        else:
            self._end("task_failed", result, **reason, **({"code": str(code)} if code else {}))

    def v2_runner_on_unreachable(self, result):
        event = "task_ignored" if result.task.ignore_unreachable else "task_unreachable"
        self._end(event, result, **reason_of(result.task, result.result))

    def v2_playbook_on_stats(self, stats):
        hosts = {}
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            summary["failed"] = summary.pop("failures")
            hosts[host] = summary
        self._write("stats", hosts=hosts)
