"""How a database is dumped, for a backup, for a copy and for what a restore takes over.

A view whose table or column is gone (a plugin was removed, its view was not) ends mariadb-dump. It holds nothing and works
nowhere, so it is left out, and the others are dumped.
"""

from __future__ import annotations

from ansible.module_utils.pressluft_site import run
from ansible.module_utils.pressluft_site_database import CLIENT, ROWS, name, sql

DUMP = [
    *("mariadb-dump", "--no-defaults", "--protocol=socket", "--default-character-set=utf8mb4", "--single-transaction", "--quick"),
    *("--routines", "--triggers", "--hex-blob", "--skip-lock-tables", "--no-tablespaces", "--skip-comments"),
]


def broken_views(database: str) -> list[str]:
    """The names of the views that can no longer be read. In hexadecimal on the way: PHP chose them."""
    rows = sql(f"SELECT HEX(table_name) FROM information_schema.views WHERE table_schema = '{database}';")
    views = [bytes.fromhex(row[0]).decode("utf-8") for row in rows]
    return [view for view in views if not is_readable(database, view)]


def is_readable(database: str, view: str) -> bool:
    return run([*CLIENT, *ROWS], input=f"SHOW FIELDS FROM {name(view)} IN {name(database)};", check=False).returncode == 0


def dump_command(database: str, without: list[str]) -> list[str]:
    """The program that writes the dump to its standard output, without these views."""
    return [*DUMP, *(f"--ignore-table={database}.{view}" for view in without), database]
