"""Names and files of an environment, and what the modules take."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import yaml
from ansible.module_utils import pressluft_site as site
from ansible.module_utils import pressluft_site_database as database
from ansible.module_utils import pressluft_site_services as services
from ansible.module_utils import pressluft_site_wordpress as wordpress

ANSIBLE_DIR = Path(__file__).resolve().parent.parent
SITE, ENVIRONMENT = "0123456789ab", "ba9876543210"
SECRETS = {
    "database_password": "p'a\\s\"s",
    "redis_password": "redis",
    "proof_secret": "proof",
    "salts": {name: f"{name}'\\" for name in wordpress.SALTS},
}


def module():
    spec = importlib.util.spec_from_file_location("environment", ANSIBLE_DIR / "sites" / "library" / "pressluft_environment.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


MODULE = module()


def in_hex(*rows: list[str]) -> list[list[str]]:
    return [[cell.encode().hex().upper() for cell in row] for row in rows]


class OnDisk(unittest.TestCase):
    """With the folder of all sites, and of locks, in a temporary one. Files belong to whoever runs the tests."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.object(site, "SITES", self.folder))
        stack.enter_context(mock.patch.object(site, "LOCKS", self.folder))
        stack.enter_context(mock.patch.object(site.shutil, "chown"))
        self.environment = site.Environment(SITE, ENVIRONMENT)

    def generation(self, name: str) -> site.Generation:
        os.makedirs(self.environment.generations, exist_ok=True)
        generation = site.Generation(self.environment, name)
        generation.make_folders()
        return generation


class Names(unittest.TestCase):
    def test_everything_of_an_environment_carries_its_short_id(self):
        environment = site.Environment(SITE, ENVIRONMENT)
        self.assertEqual(environment.user, "pl_ba9876543210")
        self.assertEqual(environment.folder, "/var/www/sites/0123456789ab/ba9876543210")
        self.assertEqual(environment.socket, "/run/php/pl_ba9876543210.sock")
        self.assertEqual(site.Generation(environment, "20261123140000").database, "pl_ba9876543210_20261123140000")

    def test_what_is_no_short_id_or_no_time_is_refused(self):
        for bad in ("", "../..", "0123456789AB", "0123456789a", "0123456789ab\n", "0123456789abc"):
            with self.subTest(bad), self.assertRaises(site.SiteError):
                site.Environment(SITE, bad)
        for bad in ("", "2026", "20261123140000\n", "../20261123140000"):
            with self.subTest(bad), self.assertRaises(site.SiteError):
                site.Generation(site.Environment(SITE, ENVIRONMENT), bad)

    def test_an_address_is_a_scheme_and_a_host(self):
        self.assertEqual(site.url_host("http://a.192-0-2-7.sslip.io"), "a.192-0-2-7.sslip.io")
        for bad in ("ftp://a.test", "a.test", "http://a.test/", "http://u@a.test", "http://a.test;evil", "http://", "http://a b"):
            with self.subTest(bad), self.assertRaises(site.SiteError):
                site.url_host(bad)


class Generations(OnDisk):
    def test_the_live_generation_is_the_one_that_current_leads_to(self):
        self.assertIsNone(self.environment.generation_from_live())
        first, second = self.generation("20261123140000"), self.generation("20261123150000")
        self.environment.switch_current(first)
        self.assertEqual(self.environment.generation_from_live().name, first.name)
        self.environment.switch_current(second)
        self.assertEqual(self.environment.generation_from_live().name, second.name)
        self.assertEqual(self.environment.generation_names(), [first.name, second.name])

    def test_a_link_to_something_else_is_not_live(self):
        self.generation("20261123140000")
        for target in ("generations/20261123150000", "/etc", "generations/../../x", "generations/20261123140000/live"):
            with self.subTest(target):
                site.place_link(target, self.environment.current)
                self.assertIsNone(self.environment.generation_from_live())

    def test_two_generations_of_one_second_have_two_names(self):
        first = self.environment.new_generation_name()
        self.generation(first)
        self.assertNotEqual(self.environment.new_generation_name(), first)

    def test_all_links_of_a_generation_are_relative(self):
        generation = self.generation("20261123140000")
        self.assertEqual(os.readlink(generation.live), "releases/20261123140000")
        self.assertEqual(generation.release, f"{generation.path}/releases/20261123140000")
        for name, target in wordpress.LINKS.items():
            path = os.path.normpath(f"{generation.release}/{os.path.dirname(name)}/{target}")
            self.assertIn(path, (generation.uploads, generation.config))

    def test_a_file_is_written_whole_and_only_where_it_differs(self):
        path = f"{self.folder}/file"
        self.assertTrue(site.write_file(path, "one", 0o640))
        self.assertFalse(site.write_file(path, "one", 0o640))
        self.assertTrue(site.write_file(path, "one", 0o600))
        self.assertTrue(site.write_file(path, "two", 0o600))
        self.assertEqual((Path(path).read_text(), os.stat(path).st_mode & 0o777), ("two", 0o600))
        self.assertEqual(sorted(os.listdir(self.folder)), ["file"])

    def test_a_lock_that_another_process_holds_is_waited_for_and_then_given_up(self):
        with mock.patch.object(site, "LOCK_SECONDS", 0.2), self.environment.locked():
            with multiprocessing.get_context("fork").Pool(1) as pool:
                self.assertIn("still works", pool.apply(_lock_error, (self.environment,)))

    def test_a_lock_outlives_the_process_while_what_it_started_still_runs(self):
        with self.environment.locked():
            child = site.start(["sleep", "30"])
        with mock.patch.object(site, "LOCK_SECONDS", 0.2), self.assertRaises(site.SiteError), self.environment.locked():
            pass
        child.kill()
        child.wait()
        with self.environment.locked():
            pass


def _lock_error(environment) -> str:
    try:
        with environment.locked():
            return "locked"
    except site.SiteError as error:
        return str(error)


    def test_locks_stand_where_nobody_but_root_can_reach_them(self):
        with mock.patch.object(site, "LOCKS", f"{self.folder}/locks"), site.Environment(SITE, ENVIRONMENT).locked():
            self.assertEqual(os.stat(f"{self.folder}/locks").st_mode & 0o777, 0o700)

    def test_what_a_site_started_is_ended_before_a_removal_asks_for_its_lock(self):
        calls = mock.Mock()
        with (
            mock.patch.object(MODULE, "end_processes", calls.end),
            mock.patch.object(site.Environment, "locked", return_value=contextlib.nullcontext()) as locked,
            mock.patch.object(MODULE, "remove", return_value=True),
        ):
            calls.attach_mock(locked, "lock")
            MODULE.ensure_absent({"site": SITE, "environment": ENVIRONMENT, "whole_site": False}, check_mode=False)
        self.assertEqual([call[0] for call in calls.mock_calls], ["end", "lock"])


class Programs(unittest.TestCase):
    def test_a_file_that_php_may_replace_is_read_neither_for_long_nor_without_end(self):
        with mock.patch.object(site, "run") as run:
            site.read_as("nobody", "/dev/zero")
        self.assertEqual(run.call_args.args[0][:6], ["timeout", "-k", "1", "5", "head", "-c"])
        self.assertEqual(run.call_args.kwargs["user"], "nobody")

    def test_a_program_gets_a_small_environment_and_the_mark_of_the_run(self):
        with mock.patch.dict(os.environ, {"PL_NODE_RUN": "mark", "SECRET": "s3cret"}):
            out = site.run(["env"], env={"OWN": "1"}).stdout
        self.assertIn("PL_NODE_RUN=mark", out)
        self.assertIn("OWN=1", out)
        self.assertNotIn("s3cret", out)

    def test_a_failure_tells_the_last_lines_and_none_of_the_arguments(self):
        with self.assertRaises(site.CommandError) as caught:
            site.run(["sh", "-c", "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3", "argument"])
        self.assertEqual(str(caught.exception), "sh ended with status 3: line 3 / line 4 / line 5 / line 6 / line 7")
        self.assertEqual(caught.exception.status, 3)

    def test_what_wp_cli_loads_of_a_site_starts_no_program(self):
        generation = site.Generation(site.Environment(SITE, ENVIRONMENT), "20261123140000")
        with mock.patch.object(wordpress, "run") as run:
            wordpress.wp(generation, ["core", "is-installed"], "/wp-cli.phar")
        asked = run.call_args.args[0]
        functions = next(part for part in asked if part.startswith("disable_functions=")).partition("=")[2].split(",")
        self.assertLessEqual({"exec", "proc_open", "pcntl_fork", "putenv"}, set(functions))

    def test_wp_cli_that_fails_has_its_code(self):
        generation = site.Generation(site.Environment(SITE, ENVIRONMENT), "20261123140000")
        failure = site.CommandError(["php"], 1, "Error: no\n")
        with mock.patch.object(wordpress, "run", side_effect=failure), self.assertRaises(site.SiteError) as caught:
            wordpress.wp(generation, ["search-replace", "a", "b"], "/wp-cli.phar")
        self.assertEqual((caught.exception.code, str(caught.exception)), ("WP_CLI_FAILED", "wp search-replace a failed: Error: no"))


class Texts(unittest.TestCase):
    def setUp(self):
        self.environment = site.Environment(SITE, ENVIRONMENT)
        self.generation = site.Generation(self.environment, "20261123140000")
        patch = mock.patch.object(services, "php_version", return_value="8.2")
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_configuration_escapes_what_it_is_given(self):
        text = wordpress.config_text(self.generation, "production", SECRETS)
        self.assertIn("define('DB_PASSWORD', 'p\\'a\\\\s\"s');\n", text)
        self.assertIn("define('AUTH_KEY', 'AUTH_KEY\\'\\\\');\n", text)
        self.assertIn("define('DB_NAME', 'pl_ba9876543210_20261123140000');\n", text)
        self.assertIn("define('PRESSLUFT_NOINDEX', false);\n", text)

    def test_only_production_may_be_indexed_and_caches_pages(self):
        for kind in ("staging", "clone"):
            self.assertIn("define('PRESSLUFT_NOINDEX', true);\n", wordpress.config_text(self.generation, kind, SECRETS))
            self.assertNotIn("fastcgi_cache", services.server_text(self.environment, "http://a.test", kind))
        text = services.server_text(self.environment, "http://a.test", "production")
        self.assertIn("fastcgi_cache_bypass $pressluft_no_cache $is_args $http_authorization $http_x_pressluft_nonce;", text)
        self.assertIn("keys_zone=pl_ba9876543210:1m", text)

    def test_missing_salts_are_refused(self):
        with self.assertRaisesRegex(site.SiteError, "AUTH_SALT"):
            salts = {name: "x" for name in wordpress.SALTS if name != "AUTH_SALT"}
            wordpress.write_config(self.generation, "production", {**SECRETS, "salts": salts})

    def test_a_pool_reaches_its_own_folder_alone_and_starts_no_program(self):
        text = services.pool_text(self.environment, "http://a.test")
        self.assertIn("[pl_ba9876543210]\nuser = pl_ba9876543210\n", text)
        # Without the slash at its end it would be a prefix of other names.
        self.assertIn("php_admin_value[open_basedir] = /var/www/sites/0123456789ab/ba9876543210/\n", text)
        disabled = text.partition("[disable_functions] = ")[2].partition("\n")[0].split(",")
        for name in ("exec", "shell_exec", "system", "passthru", "proc_open", "popen", "pcntl_exec", "dl", "putenv"):
            self.assertIn(name, disabled)
        self.assertIn("cookie_secure] = off", text)
        self.assertIn("cookie_secure] = on", services.pool_text(self.environment, "https://a.test"))
        # With `ondemand` a visitor is lost who comes while the only idle process is being ended.
        self.assertIn("pm = dynamic\n", text)

    def test_uploads_are_closed_to_scripts_before_any_location_that_runs_them(self):
        text = services.server_text(self.environment, "http://a.test", "production")
        self.assertLess(text.index("location ~* ^/wp-content/uploads/"), text.index("location ~ \\.php$"))
        self.assertIn("try_files $uri =404;\n        include /etc/nginx/fastcgi_params;", text)

    def test_a_redis_user_is_limited_to_its_keys_and_named_by_a_hash(self):
        line = services.redis_line(self.environment, "s3cret")
        self.assertNotIn("s3cret", line)
        self.assertIn(" resetkeys ~pl_ba9876543210:* resetchannels &pl_ba9876543210:* +@all -@admin -@dangerous", line)

    def redis_users(self, text: str | None, answer: str):
        """What is written into the file of Redis's users, in order, when a line is added to `text`."""
        written = []
        with (
            mock.patch.object(services, "read_file", return_value=text),
            mock.patch.object(services, "redis", return_value=answer),
            mock.patch.object(services, "write_file", side_effect=lambda _path, new, *_: not written.append(new)),
            contextlib.suppress(site.SiteError),
        ):
            services._write_redis_users(self.environment, "user pl_ba9876543210 new")
        return written

    def test_other_users_of_redis_stay_and_an_own_line_is_replaced(self):
        others = "user pressluft on\nuser pl_aaaaaaaaaaaa x\n"
        self.assertEqual(self.redis_users(others + "user pl_ba9876543210 old\n", "OK"), [others + "user pl_ba9876543210 new\n"])

    def test_what_redis_refuses_is_taken_back(self):
        self.assertEqual(self.redis_users("user pressluft on\n", "ERR")[-1], "user pressluft on\n")

    def test_a_file_without_redis_own_admin_is_left_alone(self):
        for text in (None, "", "user pl_aaaaaaaaaaaa x\n"):
            with self.subTest(text):
                self.assertEqual(self.redis_users(text, "OK"), [])

    def test_a_literal_of_sql_cannot_be_left(self):
        self.assertEqual(database.quote("a'b\\c\nd\0"), "'a\\'b\\\\c\\nd\\0'")

    def test_only_databases_of_generations_are_scanned(self):
        for bad in ("mysql", "pl_x", "pl_ba9876543210_20261123140000`"):
            with self.subTest(bad), self.assertRaises(site.SiteError):
                database.scan_database(bad, [])

    def test_a_scan_tells_addresses_and_broken_values_by_their_column(self):
        columns = in_hex(["wp_options", "option_value"], ["wp_posts", "guid"])
        rows = [["0", "n", "0"], ["1", "n", "2"], ["0", "s", b'a:1:{i:0;s:1:"ab";}'.hex()], ["0", "s", b"a:0:{}".hex()]]
        with mock.patch.object(database, "sql", side_effect=[columns, rows]) as asked:
            wrong = database.scan_database("pl_ba9876543210_20261123140000", ["old.test"])
        self.assertEqual(
            wrong, ["wp_posts.guid: 2 with an address of the source", "wp_options.option_value: 1 serialized that do not parse"]
        )
        self.assertIn("LOCATE('old.test', `guid`)", asked.call_args.args[0])

    def test_no_name_that_php_gave_a_table_or_a_column_leaves_its_quotes_in_a_statement_of_root(self):
        columns = in_hex(["t`; GRANT", "c"], ["a\tb\nc", "`\\! id"])
        for ask, answers in ((database.scan_database, [columns, []]), (database.has_rare_serialized, [columns, []])):
            argument = "x" if ask is database.has_rare_serialized else ["x"]
            with self.subTest(ask.__name__), mock.patch.object(database, "sql", side_effect=answers) as asked:
                ask("pl_ba9876543210_20261123140000", argument)
                statement = asked.call_args.args[0]
                self.assertIn(".`t``; GRANT` WHERE", statement)
                self.assertIn(".`a\tb\nc` WHERE", statement)
                self.assertIn("LOCATE('x', ```\\! id`)", statement)

    def test_the_client_of_root_runs_no_command_of_its_own(self):
        with mock.patch.object(database, "run") as asked:
            asked.return_value.stdout = ""
            database.sql("SELECT 1;")
        self.assertLessEqual({"--sandbox", "--binary-mode"}, set(asked.call_args.args[0]))

    def test_addresses_in_rare_serialized_values_are_rewritten_row_by_row_and_only_then(self):
        for rare in (False, True):
            with (
                self.subTest(rare=rare),
                mock.patch.object(wordpress, "has_rare_serialized", return_value=rare) as asked,
                mock.patch.object(wordpress, "wp") as wp,
            ):
                wordpress.rewrite_addresses(self.generation, "http://old.test", "https://new.test", "/wp-cli.phar")
                asked.assert_called_once_with(self.generation.database, "old.test")
                arguments = wp.call_args.args[1]
                self.assertEqual(arguments[:3], ["search-replace", "old.test", "new.test"])
                self.assertIn("--all-tables-with-prefix", arguments)
                self.assertEqual("--precise" in arguments, rare)

    def test_an_address_that_stays_is_not_rewritten(self):
        with mock.patch.object(wordpress, "wp") as wp:
            wordpress.rewrite_addresses(self.generation, "http://a.test", "http://a.test", "/wp-cli.phar")
        wp.assert_not_called()


class Proof(unittest.TestCase):
    """What a page has to answer; a server of the test's own stands for nginx."""

    def ask(self, status: int, proof) -> str | None:
        def getresponse(connection):
            nonce = connection.asked["X-Pressluft-Nonce"]
            value = proof(nonce)
            answer = mock.Mock(status=status)
            answer.getheader = lambda name: value
            return answer

        class Connection:
            def __init__(self, *_, **__):
                self.asked = {}

            def request(self, _method, _path, headers):
                self.asked = headers

            def getresponse(self):
                return getresponse(self)

            def close(self):
                pass

        with mock.patch.object(services.http.client, "HTTPConnection", Connection):
            return services.page_answer("http://x.test", "key")

    def test_the_right_proof_is_an_answer_and_everything_else_is_told(self):
        def right(nonce):
            return services.hmac.new(b"key", f"{nonce}\nhttp://x.test".encode(), "sha256").hexdigest()

        self.assertIsNone(self.ask(200, right))
        self.assertIsNone(self.ask(302, right))
        self.assertEqual(self.ask(502, right), "status 502")
        self.assertEqual(self.ask(200, lambda _: None), "status 200 with no proof")
        self.assertEqual(self.ask(200, lambda _: "0" * 64), "status 200 with a wrong proof")

    def test_a_wait_for_a_page_ends_with_what_came_last(self):
        with mock.patch.object(services, "page_answer", return_value="status 502"), self.assertRaises(site.SiteError) as caught:
            services.wait_for_page("http://x.test", "key", seconds=0)
        self.assertIn("status 502", str(caught.exception))


class Module(unittest.TestCase):
    def test_its_documentation_names_exactly_its_arguments(self):
        documented = yaml.safe_load(MODULE.DOCUMENTATION)["options"]
        self.assertEqual(set(documented), set(MODULE.SPEC))
        for name, option in MODULE.SPEC.items():
            with self.subTest(name):
                self.assertEqual(documented[name]["type"], option["type"])
                self.assertEqual(documented[name].get("choices"), option.get("choices"))
                self.assertEqual(documented[name].get("default"), option.get("default"))

    def test_every_secret_is_hidden_from_logs(self):
        for name in ("admin_password", "database_password", "redis_password", "proof_secret", "salts"):
            self.assertIs(MODULE.SPEC[name].get("no_log"), True, name)

    def test_every_playbook_passes_only_arguments_that_the_module_has(self):
        for name in ("site-create", "env-create", "site-delete", "env-delete"):
            play = yaml.safe_load((ANSIBLE_DIR / "playbooks" / f"{name}.yml").read_text())[0]
            with self.subTest(name):
                self.assertEqual(play["environment"], {"PL_NODE_RUN": "{{ pressluft_run }}"})
                self.assertLessEqual(set(play["tasks"][0]["pressluft_environment"]), set(MODULE.SPEC))

    def params(self, **changes) -> dict:
        plain = {name: "x" for name in MODULE.NEEDED_WHEN_NEW}
        return {
            **{"site": SITE, "environment": ENVIRONMENT, "url": "http://a.test", "environment_type": "clone", "wp_cli": "/w"},
            **{**SECRETS, **plain, "source": None, **changes},
        }

    def test_a_new_wordpress_needs_what_a_copy_does_not(self):
        with self.assertRaisesRegex(site.SiteError, "needs title"):
            MODULE.Present(self.params(title=None))
        source = {"environment": "aaaaaaaaaaaa", "url": "http://b.test"}
        MODULE.Present(self.params(title=None, source=source))

    def test_an_environment_is_no_copy_of_itself(self):
        for source in ({"environment": ENVIRONMENT, "url": "http://b.test"}, {"environment": SITE, "url": "http://a.test"}):
            with self.subTest(source), self.assertRaisesRegex(site.SiteError, "itself"):
                MODULE.Present(self.params(source=source))

    def test_a_move_that_was_ended_is_taken_up_where_it_began_though_the_site_names_its_new_address(self):
        rewritten = []
        ended = [True]

        def rewrite(_live, old, new, _wp_cli):
            rewritten.append((old, new))
            if ended.pop() if ended else False:
                raise site.SiteError("ended")

        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(site, "SITES", folder),
            mock.patch.object(site.shutil, "chown"),
            mock.patch.object(MODULE, "rewrite_addresses", rewrite),
            mock.patch.object(MODULE, "flush_redis") as flush,
        ):
            present = MODULE.Present(self.params(url="http://new.test"))
            os.makedirs(present.environment.folder)
            live = site.Generation(present.environment, "20261123140000")
            self.assertRaisesRegex(site.SiteError, "ended", present.move, live, "http://old.test")
            flush.assert_not_called()
            # Where the next one leads back, what this one has written has to go as well.
            self.assertEqual(present.left_addresses(), ["http://old.test", "http://new.test"])
            # `siteurl` was rewritten already, and the address has changed once more.
            third = MODULE.Present(self.params(url="http://third.test"))
            third.move(live, "http://new.test")
            self.assertEqual(third.left_addresses(), [])
            flush.assert_called_once_with(third.environment)
            third.move(live, "http://third.test")
        moves = [("http://old.test", "http://new.test"), ("http://new.test", "http://third.test"), ("http://old.test", "http://third.test")]
        self.assertEqual(rewritten, moves)

    def test_a_move_to_a_host_that_contains_the_old_one_can_be_repeated(self):
        rows = ["http://a.test", "http://a.test.au"]

        def rewrite(_live, old, new, _wp_cli):
            rows[:] = [row.replace(old, new) for row in rows]

        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(site, "SITES", folder),
            mock.patch.object(site.shutil, "chown"),
            mock.patch.object(MODULE, "rewrite_addresses", rewrite),
            mock.patch.object(MODULE, "flush_redis"),
        ):
            present = MODULE.Present(self.params(url="http://a.test.au"))
            os.makedirs(present.environment.folder)
            # The second row was rewritten by a run that was broken off.
            present.move(site.Generation(present.environment, "20261123140000"), "http://a.test")
        self.assertEqual(rows, ["http://a.test.au"] * 2)

    def test_an_environment_that_has_to_be_there_is_never_made_anew(self):
        with (
            mock.patch.object(MODULE.Present, "missing", return_value=["environment"]),
            mock.patch.object(MODULE.Present, "create") as create,
        ):
            self.assertRaisesRegex(site.SiteError, "restore a backup", MODULE.Present(self.params(existing=True)).ensure)
            create.assert_not_called()
            MODULE.Present(self.params(existing=False)).ensure()
            create.assert_called_once_with()

    def test_check_mode_only_looks(self):
        with (
            mock.patch.object(MODULE.Present, "missing", return_value=["environment"]),
            mock.patch.object(MODULE.Present, "ensure") as ensure,
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(site, "LOCKS", folder),
        ):
            result = MODULE.ensure_present(self.params(), check_mode=True)
        ensure.assert_not_called()
        self.assertTrue(result["changed"])
        self.assertEqual(result["pressluft"], {"wordpress_version": None, "changed": True})

    def test_a_copy_that_is_not_clean_has_its_code_and_old_damage_of_the_source_does_not_count(self):
        present = MODULE.Present(self.params(source={"environment": "aaaaaaaaaaaa", "url": "http://b.test"}))
        generation = site.Generation(present.environment, "20261123140000")
        old = "wp_options.option_value: 1 serialized that do not parse"
        for address, found, code in (
            ("http://a.test", [], None),
            ("http://a.test", [old], None),
            ("http://b.test", [], "CLONE_VERIFICATION_FAILED"),
            ("http://a.test", ["wp_posts.guid: 2 with an address of the source"], "CLONE_VERIFICATION_FAILED"),
            ("http://a.test", ["wp_options.option_value: 2 serialized that do not parse"], "CLONE_VERIFICATION_FAILED"),
        ):
            live = mock.patch.object(site.Environment, "generation_from_live", return_value=generation)
            scan = mock.patch.object(MODULE, "scan_database", side_effect=[found, [old]])
            with self.subTest(found=found), live, scan, mock.patch.object(MODULE, "site_address", return_value=address):
                if code is None:
                    present.verify(generation)
                else:
                    with self.assertRaises(site.SiteError) as caught:
                        present.verify(generation)
                    self.assertEqual(caught.exception.code, code)


if __name__ == "__main__":
    unittest.main()
