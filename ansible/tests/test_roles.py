"""Promises that every role and every release's variables keep."""

from __future__ import annotations

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
    """The defaults of all roles under the variables of a release."""
    variables = {"ansible_managed": "Ansible managed"}
    for role in ROLES:
        variables.update(load(role / "defaults" / "main.yml"))
    variables.update(load(ANSIBLE_DIR / "vars" / f"{release}.yml"))
    return trusted(variables)


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
