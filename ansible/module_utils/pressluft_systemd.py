"""What the modules read from systemd alike. Needs systemd 247 or later."""

from __future__ import annotations

import datetime

# A unit in one of these starts with the machine, or with what needs it.
ENABLED = ("enabled", "enabled-runtime", "static", "alias")


def show_command(units: list[str], properties: list[str]) -> list[str]:
    """The one command that prints `properties` of all `units`."""
    return ["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(properties)}", "--", *units]


def parse_units(text: str) -> list[dict]:
    """The properties of each unit out of what `show_command` prints, in the order of its units."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of systemd's `Sun 2026-11-22 03:57:54.123456 UTC`; 0.0 where there is none."""
    parts = text.split()
    if len(parts) != 4 or parts[3] != "UTC":
        return 0.0
    moment = datetime.datetime.strptime(f"{parts[1]} {parts[2]}", "%Y-%m-%d %H:%M:%S.%f")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
