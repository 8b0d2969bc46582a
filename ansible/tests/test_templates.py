"""Every template gives a sane file for every release, out of nothing but the roles' own variables and the release's."""

from __future__ import annotations

import unittest
from pathlib import Path

from ansible.errors import AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.test_roles import ANSIBLE_DIR, RELEASES, variables_of

TEMPLATES = sorted(ANSIBLE_DIR.glob("roles/*/templates/*.j2"))


def render(release: str, template: Path) -> str:
    """As the template module does. Raises for a variable that is not defined."""
    templar = Templar(loader=DataLoader(), variables=variables_of(release))
    return templar.template(trust_as_template(template.read_text()))


class Templates(unittest.TestCase):
    def check_all(self, check):
        self.assertTrue(TEMPLATES)
        for release in RELEASES:
            for template in TEMPLATES:
                with self.subTest(release=release, template=str(template.relative_to(ANSIBLE_DIR))):
                    check(template.name.removesuffix(".j2"), render(release, template))

    def test_a_file_says_who_manages_it_and_ends_with_one_line_end(self):
        def check(_name, text):
            self.assertIn("Ansible managed", "\n".join(text.splitlines()[:3]))
            self.assertEqual(text, text.rstrip("\n") + "\n")

        self.check_all(check)

    def test_nothing_of_a_template_and_no_value_of_python_is_left_in_a_file(self):
        def check(_name, text):
            for left in ("{{", "}}", "{%", "%}", "{#", "None", "True", "False", "Undefined"):
                self.assertNotIn(left, text)

        self.check_all(check)

    def test_no_line_ends_with_blanks(self):
        def check(_name, text):
            self.assertEqual([line for line in text.splitlines() if line != line.rstrip()], [])

        self.check_all(check)

    def test_braces_are_balanced(self):
        def check(_name, text):
            self.assertEqual(text.count("{"), text.count("}"))

        self.check_all(check)

    def test_files_of_php_name_the_php_of_their_release(self):
        for release in RELEASES:
            version = variables_of(release)["php_version"]
            text = render(release, ANSIBLE_DIR / "roles/php/templates/www.conf.j2")
            with self.subTest(release=release):
                self.assertIn(f"listen = /run/php/php{version}-fpm.sock\n", text)

    def test_a_variable_that_nobody_defines_is_an_error(self):
        templar = Templar(loader=DataLoader(), variables=variables_of(RELEASES[0]))
        with self.assertRaises(AnsibleUndefinedVariable):
            templar.template(trust_as_template("{{ nobody_defines_this }}"))


if __name__ == "__main__":
    unittest.main()
