"""The journal of a restore, and what a repetition makes of every phase. Run as `tests/__init__.py` says."""

import contextlib
import os
import shutil
import tempfile
import threading
import unittest
from unittest import mock

from ansible.module_utils import pressluft_journal as journals
from ansible.module_utils import pressluft_restore_health as health
from ansible.module_utils import pressluft_restore_steps as steps
from ansible.module_utils import pressluft_site as site
from ansible.module_utils.pressluft_backup_archive import Invalid
from ansible.module_utils.pressluft_journal import PHASES, Journal
from ansible.module_utils.pressluft_site import Environment, Generation, SiteError

# The tests of the journal replace it.
PREPARE = steps.prepare
OLD, NEW = "20260101000000", "20260102000000"
BACKUP = "cccccccccc01"


class Killed(BaseException):
    """The process ends here: nothing of it runs on, no handler of errors either."""


class Machine(unittest.TestCase):
    """An environment in a folder of its own, with its databases as names in a set."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.replace(site, SITES=f"{folder.name}/sites", STAGING=f"{folder.name}/staging", LOCKS=folder.name)
        self.environment = Environment("aaaaaaaaaa01", "bbbbbbbbbb01")
        os.makedirs(self.environment.generations)
        os.makedirs(site.STAGING)
        self.databases: set[str] = set()
        self.flushed = 0
        self.make(OLD)
        self.environment.switch_current(Generation(self.environment, OLD))
        self.archive = f"{site.STAGING}/{BACKUP}.tar.zst"
        self.stage()
        self.request = steps.Request(
            environment=self.environment,
            environment_type="production",
            url="http://x.test",
            secrets={"database_password": "d", "redis_password": "r", "proof_secret": "p", "salts": {}},
            wp_cli="/wp",
            backup=BACKUP,
            scope="full",
            archive=self.archive,
            archive_size_bytes=1,
            archive_sha256="",
        )
        self.replace(
            steps,
            databases_of=lambda _environment: sorted(self.databases),
            drop_database=lambda generation: self.databases.discard(generation.database),
            flush_redis=self.flush,
            user_exists=lambda _name: True,
            prepare=self.prepare,
        )
        self.replace(steps.imports, check_file=mock.Mock(), manifest_of=mock.Mock(return_value={}))
        self.replace(Environment, make_frame=lambda _self: None)
        self.failure: Exception | None = None

    def replace(self, target, **attributes):
        for name, value in attributes.items():
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def stage(self):
        with open(self.archive, "w", encoding="ascii") as file:
            file.write("x")

    def make(self, name: str):
        generation = Generation(self.environment, name)
        os.makedirs(f"{generation.releases}/{name}")
        self.databases.add(generation.database)
        return generation

    def flush(self, _environment):
        self.flushed += 1

    def prepare(self, _request, _old, new, _step):
        self.make(new.name)
        if self.failure:
            raise self.failure

    def live(self) -> str | None:
        found = steps.named_by_current(self.environment)
        return found.name if found else None

    def names(self) -> list[str]:
        """The generations that are there, which have to be the databases that are there."""
        names = self.environment.generation_names()
        self.assertEqual(sorted(name.rpartition("_")[2] for name in self.databases), names)
        return names

    def written(self) -> Journal | None:
        return journals.read(self.environment)

    def journal(self, phase: str, **changes) -> Journal:
        journal = Journal(**{"backup": BACKUP, "archive": self.archive, "old": OLD, "new": NEW, "phase": phase, **changes})
        journals.write(self.environment, journal)
        return journal


class TheJournal(Machine):
    def test_it_is_private_complete_and_alone_in_its_folder(self):
        before = set(os.listdir(self.environment.folder))
        journal = self.journal("ready")
        self.assertEqual(self.written(), journal)
        self.assertEqual(os.stat(journals.path_of(self.environment)).st_mode & 0o777, 0o600)
        self.assertEqual(set(os.listdir(self.environment.folder)) - before, {"restore.json"})
        journals.remove(self.environment)
        self.assertIsNone(self.written())
        journals.remove(self.environment)

    def test_what_is_no_journal_is_an_error_and_never_taken_for_none(self):
        for text in ("", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "phase": "ready"}'):
            with self.subTest(text=text):
                with open(journals.path_of(self.environment), "w", encoding="ascii") as file:
                    file.write(text)
                with self.assertRaises(SiteError):
                    self.written()

    def test_names_that_lead_elsewhere_are_refused(self):
        for changes in ({"new": "../../etc"}, {"old": "x"}, {"new": OLD}, {"phase": "other"}, {"backup": 1}):
            with self.subTest(changes=changes), self.assertRaises(ValueError):
                self.journal(**{"phase": "ready", **changes})


class Restored(Machine):
    def test_the_new_generation_is_live_and_the_old_one_is_kept(self):
        self.assertTrue(steps.restored(self.request))
        journal = self.written()
        self.assertEqual((journal.phase, journal.old, journal.new), ("switched", OLD, self.live()))
        self.assertEqual(self.names(), [OLD, self.live()])
        self.assertEqual(self.flushed, 1)

    def test_a_repetition_changes_nothing(self):
        steps.restored(self.request)
        before = (self.names(), self.written())
        os.unlink(self.archive)
        self.assertFalse(steps.restored(self.request))
        self.assertEqual((self.names(), self.written()), before)

    def test_every_failure_before_the_switch_leaves_what_was_there(self):
        failures = {
            steps.INVALID: [Invalid("x"), steps.Refused("x"), steps.Unreadable("x")],
            steps.ROLLED_BACK: [health.Unhealthy("x"), SiteError("x"), OSError("x"), KeyError("x")],
        }
        for code, errors in failures.items():
            for error in errors:
                with self.subTest(error=error):
                    self.failure = error
                    with self.assertRaises(SiteError) as raised:
                        steps.restored(self.request)
                    self.assertEqual(raised.exception.code, code)
                    self.assertEqual((self.names(), self.live(), self.written(), self.flushed), ([OLD], OLD, None, 0))

    def test_a_bad_archive_is_refused_before_anything_is_touched(self):
        self.make(NEW)
        steps.imports.check_file.side_effect = Invalid("another checksum")
        with self.assertRaises(SiteError) as raised:
            steps.restored(self.request)
        self.assertEqual(raised.exception.code, steps.INVALID)
        self.assertEqual((self.names(), self.live(), self.written()), ([OLD, NEW], OLD, None))

    def test_generations_that_nothing_names_are_removed(self):
        self.make(NEW)
        self.databases.add(f"{self.environment.user}_20250101000000")
        steps.restored(self.request)
        self.assertEqual(self.names(), [OLD, self.live()])

    def test_without_current_nothing_is_removed_before_the_restore_is_kept(self):
        os.unlink(self.environment.current)
        steps.restored(self.request)
        self.assertEqual(self.names(), [OLD, self.live()])
        self.assertIsNone(self.written().old)
        steps.rolled_back(self.environment)
        self.assertEqual((self.names(), self.live()), ([OLD], None))
        self.stage()
        steps.restored(self.request)
        steps.kept(self.environment)
        self.assertEqual(self.names(), [self.live()])

    def test_a_generation_whose_folder_and_database_are_gone_is_no_obstacle(self):
        shutil.rmtree(Generation(self.environment, OLD).path)
        self.databases.clear()
        steps.restored(self.request)
        self.assertEqual((self.names(), self.written().old), ([self.live()], OLD))
        steps.rolled_back(self.environment)
        self.assertEqual((self.names(), self.live()), ([], OLD))

    def test_another_backups_restore_that_was_left_alone_leaves_what_is_live(self):
        for phase, live in (
            ("preparing", OLD),
            ("ready", OLD),
            ("ready", NEW),
            ("switched", NEW),
            ("keeping", NEW),
            ("rolling_back", NEW),
        ):
            with self.subTest(phase=phase, live=live):
                self.setUp()
                self.make(NEW)
                self.environment.switch_current(Generation(self.environment, live))
                self.journal(phase, backup="dddddddddddd", archive=f"{site.STAGING}/dddddddddddd.tar.zst")
                steps.restored(self.request)
                before = OLD if phase == "rolling_back" else live
                self.assertEqual(self.written().old, before)
                self.assertEqual(self.names(), [before, self.live()])


class Prepared(Machine):
    """`prepare` itself, its parts replaced."""

    def tried_out(self, sync, try_out) -> None:
        nothing = {name: mock.Mock() for name in ("create_database", "write_config", "prepare_release")}
        self.replace(steps, **nothing, run=sync, try_out=try_out)
        self.replace(steps.imports, both=mock.Mock())
        self.replace(site.shutil, chown=mock.Mock())
        request = mock.Mock(scope="full", environment=self.environment)
        PREPARE(request, Generation(self.environment, OLD), Generation(self.environment, NEW), lambda _name: None)

    def test_it_ends_when_the_files_are_on_the_disk_and_fails_where_they_are_not(self):
        proved, synced = threading.Event(), []

        def sync(argv):
            proved.wait(10)
            synced.append(argv)

        self.tried_out(sync, lambda *_arguments: proved.set())
        self.assertEqual(synced, [["sync", "-f", Generation(self.environment, NEW).path]])
        with self.assertRaisesRegex(SiteError, "no disk"):
            self.tried_out(mock.Mock(side_effect=SiteError("no disk")), mock.Mock())


class Ends(Machine):
    def test_kept_removes_what_was_live_before_and_the_archive(self):
        steps.restored(self.request)
        new = self.live()
        self.assertTrue(steps.kept(self.environment))
        self.assertEqual((self.names(), self.live(), self.written(), os.listdir(site.STAGING)), ([new], new, None, []))
        self.assertFalse(steps.kept(self.environment))

    def test_rolled_back_makes_what_was_live_before_live_again(self):
        steps.restored(self.request)
        self.assertTrue(steps.rolled_back(self.environment))
        self.assertEqual((self.names(), self.live(), self.written(), os.listdir(site.STAGING)), ([OLD], OLD, None, []))
        self.assertEqual(self.flushed, 2)
        self.assertFalse(steps.rolled_back(self.environment))

    def test_every_phase_can_be_rolled_back_but_one(self):
        for phase in PHASES:
            for live in (OLD, NEW):
                with self.subTest(phase=phase, live=live):
                    self.setUp()
                    self.make(NEW)
                    self.environment.switch_current(Generation(self.environment, live))
                    self.journal(phase)
                    if phase == "keeping":
                        self.assertRaises(SiteError, steps.rolled_back, self.environment)
                        continue
                    self.assertTrue(steps.rolled_back(self.environment))
                    self.assertEqual((self.names(), self.live(), self.written()), ([OLD], OLD, None))

    def test_only_what_is_live_and_checked_can_be_kept(self):
        for phase in ("preparing", "ready", "rolling_back"):
            with self.subTest(phase=phase):
                self.journal(phase)
                self.assertRaises(SiteError, steps.kept, self.environment)

    def test_an_archive_outside_of_the_staging_folder_is_never_removed(self):
        foreign = f"{site.SITES}/keep"
        open(foreign, "w", encoding="ascii").close()
        self.make(NEW)
        self.journal("preparing", archive=foreign)
        steps.rolled_back(self.environment)
        self.assertTrue(os.path.exists(foreign))


class Crashes(Machine):
    """Each change of the disk is a point at which the process may be killed; the work is then repeated."""

    CHANGES = ("rename", "unlink", "symlink", "mkdir", "makedirs", "fsync")

    def killed_at(self, point: int, work) -> bool:
        """Runs `work` and kills it before its change of that number. Whether it came so far."""
        left = [point]

        def counted(original):
            def change(*arguments, **options):
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return original(*arguments, **options)

            return change

        with contextlib.ExitStack() as stack:
            for name in self.CHANGES:
                stack.enter_context(mock.patch.object(os, name, counted(getattr(os, name))))
            for name in ("remove_tree",):
                stack.enter_context(mock.patch.object(site, name, counted(getattr(site, name))))
            stack.enter_context(mock.patch.object(steps, "drop_database", counted(steps.drop_database)))
            try:
                work()
            except Killed:
                return True
        return False

    def each_point(self, before, work, after):
        point = 1
        while True:
            self.setUp()
            before()
            killed = self.killed_at(point, work)
            with self.subTest(point=point):
                after()
            if not killed:
                break
            point += 1
        self.assertGreater(point, 5, "it was hardly ever killed")

    def test_a_restore_that_is_repeated_ends_the_same(self):
        def again():
            steps.restored(self.request)
            self.assertEqual((self.written().phase, self.written().old, self.written().new), ("switched", OLD, self.live()))
            self.assertEqual(self.names(), [OLD, self.live()])
            self.assertGreater(self.flushed, 0)

        self.each_point(lambda: None, lambda: steps.restored(self.request), again)

    def test_a_restore_that_was_killed_can_be_rolled_back(self):
        def back():
            steps.rolled_back(self.environment)
            # Before the journal stands, nothing is there that has to be taken back.
            self.assertEqual((self.names(), self.live(), self.written()), ([OLD], OLD, None))

        self.each_point(lambda: None, lambda: steps.restored(self.request), back)

    def test_keeping_that_is_repeated_ends_the_same(self):
        def again():
            steps.kept(self.environment)
            self.assertNotEqual(self.live(), OLD)
            self.assertEqual((self.names(), self.written(), os.listdir(site.STAGING)), ([self.live()], None, []))

        self.each_point(lambda: steps.restored(self.request), lambda: steps.kept(self.environment), again)

    def test_rolling_back_that_is_repeated_ends_the_same(self):
        def again():
            steps.rolled_back(self.environment)
            self.assertEqual((self.names(), self.live(), self.written(), os.listdir(site.STAGING)), ([OLD], OLD, None, []))

        self.each_point(lambda: steps.restored(self.request), lambda: steps.rolled_back(self.environment), again)


class Answers(unittest.TestCase):
    def test_a_cgi_answer_is_read(self):
        for answer, wanted in (
            ("Content-type: text/html\r\nX-Pressluft-Proof: ab\r\n\r\nbody\n\nx", (200, "ab")),
            ("Status: 500 Internal Server Error\r\n\r\n", (500, None)),
            ("Status: 302 Found\nX-Pressluft-Proof: ab\n\n", (302, "ab")),
            ("no headers at all", (0, None)),
            ("Status: nonsense\n\n", (0, None)),
        ):
            with self.subTest(answer=answer):
                status, headers = health.parse_answer(answer)
                self.assertEqual((status, headers.get("x-pressluft-proof")), wanted)

    def prove(self, *answers):
        environment = Environment("aaaaaaaaaa01", "bbbbbbbbbb01")
        with mock.patch.object(health, "ask", side_effect=answers):
            health.check_proof(Generation(environment, OLD), "http://x.test", "secret")

    def proof(self, url="http://x.test", secret=b"secret"):
        import hashlib
        import hmac

        return hmac.new(secret, f"{'0' * 32}\n{url}".encode(), hashlib.sha256).hexdigest()

    def test_only_the_right_proof_with_status_200_is_healthy(self):
        with mock.patch.object(health.random, "token_hex", lambda _count: "0" * 32):
            good = {"x-pressluft-proof": self.proof()}
            self.prove((200, good))
            self.prove((301, {"location": "/en/"}), (200, good))
            for answers in (
                [(200, {})],
                [(500, good)],
                [(200, {"x-pressluft-proof": self.proof(url="http://y.test")})],
                [(200, {"x-pressluft-proof": self.proof(secret=b"other")})],
                [(302, {"location": "http://y.test/"}), (200, good)],
                [(302, {"location": "/"})] * 10,
            ):
                with self.subTest(answers=answers), self.assertRaises(health.Unhealthy):
                    self.prove(*answers)

    def test_a_pool_that_says_nothing_is_told_from_one_that_refuses(self):
        generation = Generation(Environment("aaaaaaaaaa01", "bbbbbbbbbb01"), OLD)
        for status, output, said in ((124, "", "nothing within 60 s"), (111, "Connection refused", "Connection refused")):
            failure = site.CommandError(["timeout"], status, output)
            with mock.patch.object(health, "run", side_effect=failure), self.assertRaisesRegex(health.Unhealthy, said):
                health.ask(generation, "http://x.test/", "nonce")


if __name__ == "__main__":
    unittest.main()
