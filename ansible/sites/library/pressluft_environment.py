#!/usr/bin/python
"""Makes an environment of a site on its node, or a copy of one, or removes it.

One module instead of a play of tasks, because people wait for it. It looks at the world first and can be repeated after it was
killed at any point: `current` is put into its place only when everything that it leads to is finished and WordPress installed,
so a folder without it holds nothing that anybody needs and is made anew.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pressluft_restore_import import Processes, import_live
from ansible.module_utils.pressluft_site import (
    SITES,
    Environment,
    Generation,
    SiteError,
    fail,
    make_folder,
    read_as,
    read_file,
    remove_file,
    remove_tree,
    run,
    start,
    url_host,
    user_exists,
    write_file,
)
from ansible.module_utils.pressluft_site_database import (
    create_database,
    databases_of,
    drop_database,
    ensure_database_user,
    query,
    scan_database,
    site_address,
)
from ansible.module_utils.pressluft_site_removal import end_processes, is_there, remove
from ansible.module_utils.pressluft_site_services import (
    add_redis_user,
    configure,
    flush_redis,
    has_redis_user,
    node_locked,
    page_answer,
    stale_services,
    wait_for_page,
    wait_for_pool,
    wanted_files,
)
from ansible.module_utils.pressluft_site_wordpress import (
    PLUGIN,
    PLUGIN_TEXT,
    SECRETS_SPEC,
    config_text,
    install,
    prepare_release,
    rewrite_addresses,
    wordpress_version,
    write_config,
)

DOCUMENTATION = r"""
module: pressluft_environment
short_description: Makes or removes an environment of a site
description:
  - Present makes an environment with everything of its own (system user, files, database, PHP-FPM pool, nginx server, Redis
    user), with a new WordPress or a copy of another environment of the site, and ends when its page answers through nginx.
  - Absent removes all of it.
  - Can be repeated after it was ended at any point. Supports check mode.
author: Pressluft
options:
  state:
    description: Whether the environment has to be there.
    type: str
    choices: [present, absent]
    default: present
  site:
    description: The short id of the site.
    type: str
    required: true
  environment:
    description: The short id of the environment.
    type: str
    required: true
  whole_site:
    description: With absent, whether every environment of the site and the site's folder are removed too.
    type: bool
    default: false
  url:
    description: The environment's address, a scheme and a host.
    type: str
  title:
    description: The title of a new WordPress.
    type: str
  environment_type:
    description: What it is for. Only production may be indexed by search engines and caches pages.
    type: str
    choices: [production, staging, clone]
  admin_user:
    description: The login of the first administrator of a new WordPress.
    type: str
  admin_email:
    description: That administrator's address.
    type: str
  admin_password:
    description: That administrator's password.
    type: str
  database_password:
    description: The password of the environment's database users.
    type: str
  redis_password:
    description: The password of its Redis user.
    type: str
  proof_secret:
    description: What it proves with that it is itself that answers.
    type: str
  salts:
    description: WordPress's keys and salts by their names.
    type: dict
  wordpress:
    description: A tar of WordPress on the node, with one folder at its root.
    type: path
  wp_cli:
    description: WP-CLI on the node.
    type: path
  existing:
    description: Whether it has to be there already. Nothing is made, and nothing removed, in the place of one that is gone then.
    type: bool
    default: false
  source:
    description: The environment of the same site that it is a copy of.
    type: dict
    suboptions:
      environment:
        description: Its short id.
        type: str
        required: true
      url:
        description: Its address, which is rewritten.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Remove an environment
  pressluft_environment:
    state: absent
    site: 0123456789ab
    environment: ba9876543210
"""

RETURN = r"""
pressluft:
  description: What the control plane takes, `wordpress_version` (null where none is there) and `changed`.
  type: dict
  returned: success
steps:
  description: The milliseconds of each part of the work.
  type: dict
  returned: success
missing:
  description: What was not as it should be.
  type: list
  returned: with state present
"""

SECRETS = tuple(SECRETS_SPEC)
SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "site": {"type": "str", "required": True},
    "environment": {"type": "str", "required": True},
    "whole_site": {"type": "bool", "default": False},
    "url": {"type": "str"},
    "title": {"type": "str"},
    "environment_type": {"type": "str", "choices": ["production", "staging", "clone"]},
    "admin_user": {"type": "str"},
    "admin_email": {"type": "str"},
    "admin_password": {"type": "str", "no_log": True},
    **SECRETS_SPEC,
    "wordpress": {"type": "path"},
    "wp_cli": {"type": "path"},
    "existing": {"type": "bool", "default": False},
    "source": {
        "type": "dict",
        "options": {"environment": {"type": "str", "required": True}, "url": {"type": "str", "required": True}},
    },
}
NEEDED = ["url", "environment_type", *SECRETS, "wp_cli"]
NEEDED_WHEN_NEW = ["title", "admin_user", "admin_email", "admin_password", "wordpress"]


class Present:
    """An environment that has to be there."""

    def __init__(self, params: dict):
        self.params = params
        self.environment = Environment(params["site"], params["environment"])
        self.url = params["url"]
        self.host = url_host(self.url)
        self.type = params["environment_type"]
        self.password = params["database_password"]
        self.secrets = {name: params[name] for name in SECRETS}
        self.steps: dict[str, int] = {}
        source = params["source"]
        if source is None and (lacking := [name for name in NEEDED_WHEN_NEW if not params[name]]):
            raise SiteError(f"a new WordPress needs {', '.join(lacking)}")
        self.source = Environment(params["site"], source["environment"]) if source else None
        if self.source and (self.source.id == self.environment.id or url_host(source["url"]) == self.host):
            raise SiteError("an environment cannot be a copy of itself")

    @contextlib.contextmanager
    def step(self, name: str):
        begun = time.monotonic()
        yield
        self.steps[name] = round((time.monotonic() - begun) * 1000)

    def missing(self) -> list[str]:
        """What is not as it should be, in the order in which it is made; nothing is changed."""
        environment = self.environment
        live = environment.generation_from_live()
        if live is None or not user_exists(environment.user):
            return ["environment"]
        missing = []
        address = site_address(live, self.password)
        if address is None:
            missing.append("database")
        elif address != self.url or self.left_addresses():
            missing.append("address")
        if read_file(live.config) != config_text(live, self.type, self.secrets):
            missing.append("configuration")
        if read_as(environment.user, f"{live.live}/{PLUGIN}") != PLUGIN_TEXT:
            missing.append("plugin")
        if not has_redis_user(environment, self.secrets["redis_password"]):
            missing.append("redis")
        files = wanted_files(environment, self.url, self.type)
        if any(read_file(path) != text for path, text in files.items()) or stale_services():
            missing.append("services")
        if not missing and page_answer(self.url, self.secrets["proof_secret"]) is not None:
            missing.append("page")
        return missing

    def ensure(self) -> list[str]:
        """Makes whatever is missing; says what it was."""
        with self.step("look"):
            missing = self.missing()
        if missing == ["environment"] and self.params["existing"]:
            raise SiteError("nothing of this environment is there any more; restore a backup, or delete it")
        if missing == ["environment"]:
            self.create()
        elif missing:
            self.repair(missing)
        return missing

    def repair(self, missing: list[str]) -> None:
        """An environment that was finished once: nothing that it holds is made anew."""
        live = self.environment.generation_from_live()
        with self.step("repair"):
            self.environment.make_frame()
            if "database" in missing:
                ensure_database_user(live, self.password)
            address = site_address(live, self.password)
            if address is None:
                raise SiteError(f"the database {live.database} holds no WordPress any more; restore a backup")
            if {"configuration", "database"} & set(missing):
                write_config(live, self.type, self.secrets)
            if "plugin" in missing:
                prepare_release(live)
            self.move(live, address)
            add_redis_user(self.environment, self.secrets["redis_password"])
            configure(self.environment, self.url, self.type)
        self.wait()

    def left_addresses(self) -> list[str]:
        """The addresses that a move which was ended may have left somewhere in the database."""
        return (read_file(self.environment.moved_from) or "").split()

    def move(self, live: Generation, address: str) -> None:
        """Rewrites the addresses of what is live. `siteurl` is among the first of them: it tells where a move began, not that it
        ended. So what has to go is written down before."""
        # The longest first: it may contain another one of them.
        old = sorted({*self.left_addresses(), address} - {self.url}, key=lambda left: (-len(left), left))
        if not old:
            remove_file(self.environment.moved_from)
            return
        # The new one too: where a move is broken off and the next leads elsewhere, or back, it is among those that have to go.
        write_file(self.environment.moved_from, "\n".join([*old, self.url]) + "\n", 0o600)
        for left in old:
            # Where the new host contains the old one, what was rewritten before would be rewritten once more.
            if url_host(left) in url_host(self.url):
                rewrite_addresses(live, self.url, left, self.params["wp_cli"])
            rewrite_addresses(live, left, self.url, self.params["wp_cli"])
        flush_redis(self.environment)
        remove_file(self.environment.moved_from)

    def create(self) -> None:
        environment = self.environment
        with self.step("user"):
            add_user(environment)
            environment.make_frame()
            # Without `current` these are what a run left that was ended.
            for name in environment.generation_names():
                Generation(environment, name).remove()
            for database in databases_of(environment):
                drop_database(Generation(environment, database.rpartition("_")[2]))
        generation = Generation(environment, environment.new_generation_name())
        generation.make_folders()
        with ThreadPoolExecutor(max_workers=2) as others:
            services = others.submit(self.share)
            if self.source:
                self.copy(generation, self.source, others)
            else:
                self.unpack(generation)
            services.result()
        if not self.source:
            self.install(generation)
        with self.step("verify"):
            self.verify(generation)
        environment.switch_current(generation)
        self.wait()

    def share(self) -> None:
        """What the node's services are told; WordPress need not be there for it."""
        with self.step("services"):
            add_redis_user(self.environment, self.secrets["redis_password"])
            configure(self.environment, self.url, self.type)

    def unpack(self, generation: Generation) -> None:
        params = self.params
        with self.step("unpack and database"):
            with open(params["wordpress"], "rb") as archive:
                # As the environment's user, so that nothing has to change its owner.
                command = ["tar", "--extract", "--strip-components=1", "--no-same-owner", f"--directory={generation.release}"]
                unpacking = start(command, user=self.environment.user, stdin=archive)
            create_database(generation, self.password)
            write_config(generation, self.type, self.secrets)
            if unpacking.wait() != 0:
                raise SiteError(f"{params['wordpress']} could not be unpacked")
            prepare_release(generation)

    def install(self, generation: Generation) -> None:
        params = self.params
        # A reload of PHP-FPM for another environment would cut off the installer if it takes long.
        with self.step("install"), node_locked(shared=True):
            wait_for_pool(self.environment)
            admin = (params["admin_user"], params["admin_email"], params["admin_password"])
            install(generation, self.url, params["title"], *admin, public=self.type == "production")

    def copy(self, generation: Generation, source: Environment, others: ThreadPoolExecutor) -> None:
        """Code, uploads and database of the source, which is only read."""
        origin = source.generation_from_live()
        if origin is None:
            raise SiteError(f"the source {source.user} has nothing live")
        with self.step("copy"):
            code = others.submit(copy_tree, origin.release, generation.release, source.user, self.environment.user)
            create_database(generation, self.password)
            import_live(origin, generation, self.password, Processes())
            # After the database: an attachment that it knows was written before, so its file is there.
            copy_tree(origin.uploads, generation.uploads, source.user, self.environment.user)
            code.result()
            write_config(generation, self.type, self.secrets)
            prepare_release(generation)
        with self.step("rewrite"):
            rewrite_addresses(generation, self.params["source"]["url"], self.url, self.params["wp_cli"])
            public = "1" if self.type == "production" else "0"
            query(generation, self.password, f"UPDATE wp_options SET option_value = '{public}' WHERE option_name = 'blog_public'")

    def verify(self, generation: Generation) -> None:
        address = site_address(generation, self.password)
        code = "CLONE_VERIFICATION_FAILED" if self.source else "WP_CLI_FAILED"
        if address != self.url:
            raise SiteError(f"the new database says that its address is {address or 'none'}, not {self.url}", code)
        if self.source:
            wrong = scan_database(generation.database, [url_host(self.params["source"]["url"])])
            # What the source itself could not read is no fault of the copy.
            if any("serialized" in line for line in wrong):
                known = scan_database(self.source.generation_from_live().database, [])
                wrong = [line for line in wrong if line not in known]
            if wrong:
                raise SiteError(f"the copy is not clean: {'; '.join(wrong[:10])}", code)

    def wait(self) -> None:
        with self.step("page"):
            wait_for_page(self.url, self.secrets["proof_secret"])


def add_user(environment: Environment) -> None:
    if not user_exists(environment.user):
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        with node_locked():
            run(["useradd", *options, environment.user])


def copy_tree(source: str, target: str, reader: str, owner: str) -> None:
    """Copies what is in a folder of one environment into the empty one of another, which keeps its permissions.

    The source's user copies, so that no link that it laid leads to what it may not read. It is let into the one folder of the
    other environment by beginning there. The new owner gets it afterwards.
    """
    mode = stat.S_IMODE(os.stat(target).st_mode)
    make_folder(target, mode, reader, "www-data")
    run(["cp", "-a", "--reflink=auto", "--", f"{source}/.", "."], user=reader, directory=target)
    run(["chown", "-hR", f"{owner}:{owner}", "--", target])
    make_folder(target, mode, owner, "www-data")


def targets(params: dict) -> list[Environment]:
    """The environments that have to go, the named one first."""
    site = params["site"]
    names = [params["environment"]]
    if params["whole_site"] and os.path.isdir(f"{SITES}/{site}"):
        names += sorted(name for name in os.listdir(f"{SITES}/{site}") if name not in names)
    return [Environment(site, name) for name in names]


def ensure_absent(params: dict, check_mode: bool) -> bool:
    changed = False
    environments = targets(params)
    for environment in environments:
        if check_mode:
            changed |= is_there(environment)
            continue
        # What a site itself started may have inherited the lock, and would keep it for good.
        end_processes(environment)
        with environment.locked():
            changed |= remove(environment)
            remove_file(environment.lock_file)
    folder = environments[0].site_folder
    if params["whole_site"]:
        changed |= os.path.lexists(folder) if check_mode else remove_tree(folder)
    return changed


def ensure_present(params: dict, check_mode: bool) -> dict:
    present = Present(params)
    # A look takes no lock: it would leave the file of it.
    with contextlib.nullcontext() if check_mode else present.environment.locked():
        missing = present.missing() if check_mode else present.ensure()
        live = present.environment.generation_from_live()
        version = wordpress_version(live) if live else None
    result = {"wordpress_version": version, "changed": bool(missing)}
    return {"changed": bool(missing), "pressluft": result, "steps": present.steps, "missing": missing}


def main() -> None:
    needed = [("state", "present", NEEDED)]
    module = AnsibleModule(argument_spec=SPEC, required_if=needed, supports_check_mode=True)
    os.umask(0o022)
    try:
        if module.params["state"] == "present":
            result = ensure_present(module.params, module.check_mode)
        else:
            changed = ensure_absent(module.params, module.check_mode)
            result = {"changed": changed, "pressluft": {"wordpress_version": None, "changed": changed}, "steps": {}}
    except SiteError as error:
        fail(module, error)
    except OSError as error:
        module.fail_json(msg=f"{error.strerror}: {error.filename}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
