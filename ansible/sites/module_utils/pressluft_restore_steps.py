"""A restore, kept or rolled back: a new generation beside the live one, checked, then one switch.

Every step looks at the journal and at `current` first, so each of the three ends can be asked again after a crash at any point.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible.module_utils import pressluft_journal as journals
from ansible.module_utils import pressluft_restore_health as health
from ansible.module_utils import pressluft_restore_import as imports
from ansible.module_utils import pressluft_site
from ansible.module_utils.pressluft_backup_archive import SCOPES, Invalid
from ansible.module_utils.pressluft_backup_make import named_by_current
from ansible.module_utils.pressluft_journal import Journal
from ansible.module_utils.pressluft_site import (
    GENERATION,
    Environment,
    Generation,
    SiteError,
    remove_file,
    run,
    user_exists,
)
from ansible.module_utils.pressluft_site_database import create_database, databases_of, drop_database, site_address
from ansible.module_utils.pressluft_site_services import add_redis_user, configure, flush_redis
from ansible.module_utils.pressluft_site_wordpress import prepare_release, rewrite_addresses, write_config
from ansible.module_utils.pressluft_sql import Unreadable
from ansible.module_utils.pressluft_sql_rules import Refused

INVALID = "BACKUP_ARTIFACT_INVALID"
ROLLED_BACK = "RESTORE_ROLLED_BACK"


@dataclass(frozen=True)
class Request:
    """What shall be restored, from which staged archive. `secrets` has the keys of SECRETS_SPEC."""

    environment: Environment
    environment_type: str
    url: str
    secrets: dict
    wp_cli: str
    backup: str
    scope: str
    archive: str
    archive_size_bytes: int
    archive_sha256: str

    @property
    def password(self) -> str:
        return self.secrets["database_password"]


def restored(request: Request, step: Callable[[str], None] = lambda _name: None) -> bool:
    """Makes the backup live, and keeps what was live before until `kept` or `rolled_back`. Whether anything changed.

    `step` is told of every step that begins. Raises SiteError: INVALID and ROLLED_BACK mean that the environment is as it was.
    """
    environment = request.environment
    journal = journals.read(environment)
    if journal is not None and journal.backup == request.backup and journal.phase in ("ready", "switched"):
        return go_live(request, journal, step)
    if not user_exists(environment.user) or not os.path.isdir(environment.folder):
        raise SiteError(f"the environment {environment.id} is not on this node")
    step("check archive")
    try:
        imports.check_file(request.archive, request.archive_size_bytes, request.archive_sha256)
        imports.manifest_of(request.archive, environment.site, environment.id, request.backup, request.scope)
        if request.scope == "db":
            imports.check_members(request.archive)
    except Invalid as error:
        raise SiteError(f"the backup cannot be used: {error}", INVALID) from error
    step("clear")
    settle(environment, journal, keep_archive=request.archive)
    old = named_by_current(environment)
    environment.make_frame()
    new = Generation(environment, new_name(environment, old))
    journal = Journal(request.backup, request.archive, old.name if old else None, new.name, "preparing")
    journals.write(environment, journal)
    try:
        prepare(request, old, new, step)
    except Exception as error:
        undo(environment, new)
        journals.remove(environment)
        raise explained(error) from error
    journal = journal.at("ready")
    journals.write(environment, journal)
    return go_live(request, journal, step)


def new_name(environment: Environment, old: Generation | None) -> str:
    """A name that neither a folder nor a database has, nor `current` names."""
    taken = {name.rpartition("_")[2] for name in databases_of(environment)} | ({old.name} if old else set())
    name = environment.new_generation_name()
    while name in taken or os.path.lexists(Generation(environment, name).path):
        name = (datetime.strptime(name, GENERATION) + timedelta(seconds=1)).strftime(GENERATION)
    return name


def prepare(request: Request, old: Generation | None, new: Generation, step: Callable[[str], None]) -> None:
    """Makes the new generation whole and has it prove itself. Touches nothing that is live."""
    step("fill")
    new.make_folders()
    create_database(new, request.password)
    parts = SCOPES[request.scope]
    if old is None and len(parts) < 2:
        raise SiteError("nothing is live to take the other half from: only a full backup can be restored")

    def files(processes: imports.Processes) -> None:
        if "files" in parts:
            imports.extract_files(request.archive, new, processes)
        else:
            imports.copy_files(old, new)

    def database(processes: imports.Processes) -> None:
        if "database" in parts:
            imports.import_archive(request.archive, new, request.password, processes)
        else:
            imports.import_live(old, new, request.password, processes)

    imports.both(database, files)
    write_config(new, request.environment_type, request.secrets)
    prepare_release(new)
    with ThreadPoolExecutor(max_workers=1) as other:
        # The files are on the disk before the journal says so; meanwhile it proves itself.
        on_disk = other.submit(run, ["sync", "-f", new.path])
        try_out(request, new, step)
        on_disk.result()


def try_out(request: Request, new: Generation, step: Callable[[str], None]) -> None:
    """Gives the filled generation its address, and has it prove itself."""
    step("address")
    address = site_address(new, request.password)
    if address is not None and address != request.url:
        # The node, or the domain of previews, has another address than when the backup was made.
        rewrite_addresses(new, address, request.url, request.wp_cli)
    step("health")
    # Both may have been damaged with the rest; they change nothing where they are as they should be.
    add_redis_user(request.environment, request.secrets["redis_password"])
    configure(request.environment, request.url, request.environment_type)
    health.check(new, request.url, request.password, request.secrets["proof_secret"], request.wp_cli)


def explained(error: Exception) -> SiteError:
    """What a failure before the switch means: that nothing has changed, and why."""
    if isinstance(error, (Invalid, Unreadable, Refused)):
        return SiteError(f"the backup cannot be used: {error}", INVALID)
    if isinstance(error, health.Unhealthy):
        return SiteError(f"the restored site is not healthy, so what was live stays live: {error}", ROLLED_BACK)
    return SiteError(f"the backup could not be restored, so what was live stays live: {error}", ROLLED_BACK)


def go_live(request: Request, journal: Journal, step: Callable[[str], None]) -> bool:
    """Switches to the new generation where that has not been done, and tells what caches."""
    if journal.phase == "switched":
        return False
    step("switch")
    switch(request.environment, Generation(request.environment, journal.new))
    journals.write(request.environment, journal.at("switched"))
    return True


def switch(environment: Environment, generation: Generation) -> None:
    environment.switch_current(generation)
    journals.sync_folder(environment.folder)
    # PHP and nginx are asked for the real path of a release, which no other generation has; only Redis goes by keys alone.
    flush_redis(environment)


def kept(environment: Environment) -> bool:
    """Ends a restore: what was live before is removed, and the archive. Whether anything was under way."""
    journal = journals.read(environment)
    if journal is None:
        return False
    if journal.phase not in ("switched", "keeping"):
        raise SiteError(f"the restore cannot be kept: it is only {journal.phase}")
    finish_keeping(environment, journal, keep_archive=None)
    return True


def finish_keeping(environment: Environment, journal: Journal, keep_archive: str | None) -> None:
    journals.write(environment, journal.at("keeping"))
    remove_all_but(environment, journal.new)
    remove_archive(journal, keep_archive)
    journals.remove(environment)


def rolled_back(environment: Environment) -> bool:
    """Ends a restore: what was live before is live again, and the rest is removed. Whether anything was under way."""
    journal = journals.read(environment)
    if journal is None:
        return False
    if journal.phase == "keeping":
        raise SiteError("the restore cannot be rolled back: what was live before is being removed already")
    finish_rolling_back(environment, journal, keep_archive=None)
    return True


def finish_rolling_back(environment: Environment, journal: Journal, keep_archive: str | None) -> None:
    journals.write(environment, journal.at("rolling_back"))
    live = named_by_current(environment)
    if live is not None and live.name == journal.new:
        if journal.old is None:
            remove_file(environment.current)
            journals.sync_folder(environment.folder)
        else:
            switch(environment, Generation(environment, journal.old))
    undo(environment, Generation(environment, journal.new))
    remove_archive(journal, keep_archive)
    journals.remove(environment)


def settle(environment: Environment, journal: Journal | None, keep_archive: str | None) -> None:
    """Ends what another run began, before a new restore. What `current` leads to stays; what was begun to be undone is undone."""
    if journal is not None and journal.phase == "rolling_back":
        finish_rolling_back(environment, journal, keep_archive)
        journal = None
    live = named_by_current(environment)
    if journal is not None and live is not None and live.name == journal.new:
        finish_keeping(environment, journal, keep_archive)
    elif journal is not None:
        undo(environment, Generation(environment, journal.new))
        remove_archive(journal, keep_archive)
        journals.remove(environment)
    if live is not None:
        # Without `current` nobody can tell what is worth keeping.
        remove_all_but(environment, live.name)


def remove_all_but(environment: Environment, name: str) -> None:
    """Removes every generation and database of the environment but those of that name."""
    others = {database.rpartition("_")[2] for database in databases_of(environment)} | set(environment.generation_names())
    for other in sorted(others - {name}):
        undo(environment, Generation(environment, other))


def undo(environment: Environment, generation: Generation) -> None:
    """Removes a generation that is not live. The database last: as long as it is there, the folder's rest can be found."""
    live = named_by_current(environment)
    if live is not None and live.name == generation.name:
        raise SiteError(f"the generation {generation.name} is live")
    generation.remove()
    drop_database(generation)


def remove_archive(journal: Journal, keep_archive: str | None) -> None:
    # Only ever a staged file, whatever the journal says.
    if journal.archive != keep_archive and os.path.dirname(journal.archive) == pressluft_site.STAGING:
        remove_file(journal.archive)
        remove_file(f"{journal.archive.removesuffix('.tar.zst')}.json")
