"""Promises that every role and every release's variables keep."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ANSIBLE_DIR = Path(__file__).resolve().parent.parent
ROLES = sorted(path for path in (ANSIBLE_DIR / "roles").iterdir() if path.is_dir())
RELEASES = sorted(path.stem for path in (ANSIBLE_DIR / "vars").glob("*.yml"))
PLAYBOOKS = sorted((ANSIBLE_DIR / "playbooks").glob("*.yml"))


def load(path: Path):
    return yaml.safe_load(path.read_text())


def options_of(role: Path) -> dict:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def trusted(value):
    """`value` as if Ansible itself had read it from a file of ours: its expressions may be evaluated."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return value


def variables_of(release: str) -> dict:
    """The defaults and variables of all roles under the variables of a release."""
    variables = {"ansible_managed": "Ansible managed", "release_login_user": "pressluft", "release_ssh_port": "22"}
    for role in ROLES:
        variables.update(load(role / "defaults" / "main.yml"))
        variables.update(load(role / "vars" / "main.yml"))
    variables.update(load(ANSIBLE_DIR / "vars" / f"{release}.yml"))
    return trusted(variables)


def render(variables: dict, role: str, template: str) -> str:
    source = (ANSIBLE_DIR / "roles" / role / "templates" / template).read_text()
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(source))


def tasks_in(node):
    """Every task of a parsed tasks file or play, those in blocks too."""
    if isinstance(node, list):
        for entry in node:
            yield from tasks_in(entry)
    elif isinstance(node, dict):
        if "hosts" not in node:
            yield node
        for key in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks"):
            yield from tasks_in(node.get(key))


def values_of(role: Path, modules: dict[str, tuple[str, ...]], templar: Templar) -> set[str]:
    """What the tasks of a role give to `modules` (names of options by module), once for each item of a loop."""
    found = set()
    for path in sorted((role / "tasks").glob("*.yml")):
        for task in tasks_in(load(path)):
            for module, options in modules.items():
                if task.get(module, {}).get("state") == "absent":
                    continue
                given = [task[module][option] for option in options if option in task.get(module, {})]
                loop = templar.template(trusted(task.get("loop", [None])))
                for value, item in itertools.product(given, loop):
                    inner = Templar(loader=DataLoader(), variables={**templar.available_variables, "item": trusted(item)})
                    found.add(inner.template(trusted(value)))
    return found


def files_written_by(role: Path, templar: Templar) -> set[str]:
    modules = {f"ansible.builtin.{name}": ("dest", "path") for name in ("template", "copy", "lineinfile", "blockinfile")}
    return values_of(role, modules, templar)


def services_run_by(role: Path, templar: Templar) -> set[str]:
    return values_of(role, {"pressluft_service": ("name",)}, templar)


class Roles(unittest.TestCase):
    def test_arguments_are_the_defaults_and_what_has_no_default_is_required(self):
        for role in ROLES:
            with self.subTest(role=role.name):
                optional = {name for name, option in options_of(role).items() if not option.get("required")}
                self.assertEqual(optional, set(load(role / "defaults" / "main.yml")))

    def test_a_default_that_an_argument_names_is_the_default(self):
        for role in ROLES:
            defaults = load(role / "defaults" / "main.yml")
            for name, option in options_of(role).items():
                if "default" in option:
                    with self.subTest(role=role.name, argument=name):
                        self.assertEqual(option["default"], defaults[name])

    def test_every_argument_is_described(self):
        for role in ROLES:
            for name, option in options_of(role).items():
                with self.subTest(role=role.name, argument=name):
                    self.assertTrue(option["description"].strip())

    def test_variables_carry_the_name_of_their_role(self):
        for role in ROLES:
            for name in options_of(role):
                with self.subTest(role=role.name, argument=name):
                    self.assertTrue(name.startswith(f"{role.name}_"))

    def test_every_role_names_the_files_it_manages_and_the_services_it_runs(self):
        for release in RELEASES:
            variables = variables_of(release)
            templar = Templar(loader=DataLoader(), variables=variables)
            for role in ROLES:
                with self.subTest(release=release, role=role.name):
                    files = templar.template(variables[f"{role.name}_files"])
                    self.assertTrue(all(path.startswith("/") and "{{" not in path for path in files), files)
                    self.assertEqual(files_written_by(role, templar), set(files))
                    services = templar.template(variables[f"{role.name}_services"])
                    self.assertEqual(services_run_by(role, templar), set(services))

    def test_variables_of_a_role_carry_its_name(self):
        for role in ROLES:
            for name in load(role / "vars" / "main.yml"):
                with self.subTest(role=role.name, variable=name):
                    self.assertTrue(name.startswith(f"{role.name}_"))

    def test_every_task_has_a_name(self):
        files = [*ANSIBLE_DIR.glob("roles/*/tasks/*.yml"), *ANSIBLE_DIR.glob("tasks/*.yml"), *PLAYBOOKS]
        for path in files:
            for task in tasks_in(load(path)):
                with self.subTest(file=str(path.relative_to(ANSIBLE_DIR)), task=task):
                    self.assertTrue(task.get("name"))


class Releases(unittest.TestCase):
    def test_every_template_renders_for_every_release(self):
        for release in RELEASES:
            templar = Templar(loader=DataLoader(), variables=variables_of(release))
            for path in sorted(ANSIBLE_DIR.glob("roles/*/templates/*.j2")):
                with self.subTest(release=release, template=str(path.relative_to(ANSIBLE_DIR))):
                    text = templar.template(trust_as_template(path.read_text()))
                    self.assertIn("Ansible managed", text)
                    self.assertNotIn("{{", text)

    def test_a_failed_login_to_wordpress_is_told_from_a_successful_one(self):
        variables = variables_of(RELEASES[0])
        nginx = render(variables, "nginx", "pressluft.conf.j2")
        refused = re.compile(re.search(r'"~(.+)" 1;', nginx).group(1))
        for line, is_refused in (
            ("POST /wp-login.php 200", True),
            ("POST /blog/wp-login.php 403", True),
            ("POST /xmlrpc.php 200", True),
            ("POST /xmlrpc.php 403", True),
            ("POST /wp-login.php 302", False),
            ("GET /wp-login.php 200", False),
            ("POST /wp-login.php 500", False),
            ("POST /wp-admin/admin-ajax.php 200", False),
            ("POST /not-wp-login.php.txt 200", False),
        ):
            with self.subTest(line=line):
                self.assertEqual(bool(refused.search(line)), is_refused)

    def test_the_control_plane_logs_in_as_root_only_where_it_has_to(self):
        for user, answer in (("pressluft", "no"), ("root", "prohibit-password"), ("", "prohibit-password")):
            with self.subTest(user=user):
                text = render({**variables_of(RELEASES[0]), "release_login_user": user}, "sshd", "00-pressluft.conf.j2")
                self.assertIn(f"PermitRootLogin {answer}\n", text)

    def test_the_port_that_provisioning_comes_in_by_is_never_closed(self):
        for port, ports in (("22", "22"), ("2222", "22, 2222"), ("", "22")):
            with self.subTest(port=port):
                text = render({**variables_of(RELEASES[0]), "release_ssh_port": port}, "firewall", "nftables.conf.j2")
                self.assertIn(f"tcp dport {{ {ports} }} accept\n\t\tct state invalid drop", text)

    def test_packages_are_named_for_the_php_of_the_release(self):
        for release in RELEASES:
            variables = variables_of(release)
            packages = Templar(loader=DataLoader(), variables=variables).template(variables["php_packages"])
            version = variables["php_version"]
            with self.subTest(release=release):
                self.assertIn(f"php{version}-fpm", packages)
                self.assertIn(f"php{version}-mysql", packages)
                self.assertNotIn("libfcgi-bin", [package for package in packages if package.startswith("php")])

    def test_provisioning_supports_exactly_the_releases_that_have_variables(self):
        play = load(ANSIBLE_DIR / "playbooks" / "node-provision.yml")[0]
        self.assertEqual(play["vars"]["supported_releases"], RELEASES)

    def test_all_releases_define_the_same_variables(self):
        names = {release: set(load(ANSIBLE_DIR / "vars" / f"{release}.yml")) for release in RELEASES}
        self.assertEqual(len({frozenset(value) for value in names.values()}), 1, names)


class Playbooks(unittest.TestCase):
    def test_every_playbook_passes_the_syntax_check(self):
        for path in PLAYBOOKS:
            with self.subTest(playbook=path.name):
                with tempfile.TemporaryDirectory() as home:
                    done = subprocess.run(
                        [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", "-i", "localhost,", str(path)],
                        env={
                            "PATH": "/usr/bin:/bin",
                            "HOME": home,
                            "LC_ALL": "C.UTF-8",
                            "ANSIBLE_CONFIG": str(ANSIBLE_DIR / "ansible.cfg"),
                        },
                        capture_output=True,
                        text=True,
                        timeout=120,
                        check=False,
                    )
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
