"""What goes into a backup, and which archive may come back. Run as `tests/__init__.py` says."""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import unittest
from unittest import mock

from ansible.module_utils import pressluft_backup_make as making
from ansible.module_utils import pressluft_restore_import as imports
from ansible.module_utils import pressluft_site as site
from ansible.module_utils.pressluft_backup_archive import Archive, Invalid, leads_inside, read_manifest
from ansible.module_utils.pressluft_site import CommandError, Environment, Generation, SiteError, place_link

IDS = {"site": "aaaaaaaaaa01", "environment": "bbbbbbbbbb01", "backup": "cccccccccc01", "scope": "full"}
PARTS = {"database": True, "files": True}
MANIFEST = {"format": 1, **IDS, "parts": PARTS}


def entry(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def folder(name: str):
    return entry(name, type=tarfile.DIRTYPE, mode=0o755)


def link(name: str, target: str):
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def packed(*entries, manifest=MANIFEST, form=tarfile.GNU_FORMAT) -> bytes:
    """A tar with a manifest and these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for info, content in [entry("manifest.json", json.dumps(manifest).encode()), *entries]:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def relayed(text: bytes) -> dict[str, bytes]:
    """What `tar` would be given of an archive, by name. Raises Invalid."""
    sink = io.BytesIO()
    imports.relay_files(Archive(io.BytesIO(text)), sink)
    sink.seek(0)
    with tarfile.open(fileobj=sink, mode="r:") as tar:
        return {info.name: tar.extractfile(info).read() if info.isfile() else info.linkname.encode() for info in tar}


class Members(unittest.TestCase):
    def assert_invalid(self, *entries, **options):
        with self.assertRaises(Invalid):
            relayed(packed(*entries, **options))

    def test_code_and_uploads_are_handed_on_and_nothing_else_is(self):
        long = "files/code/" + "long" * 60 + "/" + "name" * 40 + ".php"
        text = packed(
            entry("database.sql", b"SET NAMES utf8;" * 1000),
            folder("files/code"),
            entry("files/code/index.php", b"<?php"),
            entry(long, b"x" * 513),
            folder("files/uploads"),
            entry("files/uploads/a b\nc.jpg", b"y" * 512),
            entry("files/uploads/\udcff.jpg", b""),
            link("files/uploads/l.jpg", "a b\nc.jpg"),
            link("files/uploads/" + "l" * 150, "t" * 150),
        )
        found = relayed(text)
        self.assertEqual(found["files/code/index.php"], b"<?php")
        self.assertEqual(found[long], b"x" * 513)
        self.assertEqual(found["files/uploads/" + "l" * 150], b"t" * 150)
        self.assertEqual(len(found), 8)
        self.assertNotIn("manifest.json", found)
        self.assertNotIn("database.sql", found)

    def test_names_that_lead_elsewhere_are_refused(self):
        for name in (
            "/etc/passwd",
            "../x",
            "files/../../x",
            "files/code/../../x",
            "files/code/./x",
            "files/code//x",
            "files/code/a/..",
            "files/other/x",
            "files/x",
            "x",
            "files/codex/a",
            "database.sql/x",
            "files/code/" + "a/" * 100 + "../../x",
        ):
            with self.subTest(name=name):
                self.assert_invalid(entry(name, b"x"))

    def test_what_is_neither_a_file_a_folder_nor_a_link_is_refused(self):
        for kind in (
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
            tarfile.CONTTYPE,
            tarfile.GNUTYPE_SPARSE,
            b"V",
        ):
            with self.subTest(kind=kind):
                self.assert_invalid(entry("files/code/x", type=kind, linkname="files/code/y"))

    def test_links_that_lead_out_are_refused(self):
        for target in ("/etc/passwd", "..", "../../x", "../uploads/x", "a/../b", "./../../y", "", "a/../../../../etc"):
            with self.subTest(target=target):
                self.assert_invalid(link("files/code/l", target))
        self.assertEqual(
            relayed(packed(link("files/code/a/l", "../b"), link("files/code/m", "./a/b"))).keys(),
            {"files/code/a/l", "files/code/m"},
        )

    def test_nothing_is_written_through_a_link(self):
        self.assert_invalid(link("files/code/l", "a"), entry("files/code/l/x", b"x"))
        self.assert_invalid(link("files/code/l", "."), link("files/code/l/m", ".."))

    def test_a_member_twice_is_refused(self):
        self.assert_invalid(entry("database.sql", b"a"), entry("database.sql", b"b"))
        self.assert_invalid(entry("files/code/a", b"a"), link("files/code/a", "b"))
        self.assert_invalid(entry("manifest.json", b"{}"))

    def test_a_folder_or_a_link_is_no_dump(self):
        self.assert_invalid(folder("database.sql"))
        self.assert_invalid(link("database.sql", "files/code/x"))

    def test_headers_of_other_formats_are_refused(self):
        self.assert_invalid(entry("files/code/" + "x" * 200, b"x"), form=tarfile.PAX_FORMAT)

    def test_the_manifest_comes_first(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(*[entry("files/code/x")[0]])
        with self.assertRaises(Invalid):
            relayed(out.getvalue())

    def test_an_archive_that_ends_too_early_is_refused(self):
        text = packed(entry("files/code/x", b"x" * 2000))
        for length in (0, 100, 512, 1024, 2048, 3000, 4096):
            with self.subTest(length=length), self.assertRaises(Invalid):
                relayed(text[:length])

    def test_a_changed_header_is_refused(self):
        text = bytearray(packed(entry("files/code/x", b"x")))
        text[1024] ^= 1
        with self.assertRaises(Invalid):
            relayed(bytes(text))

    def test_where_a_link_leads(self):
        for name, target, inside in (
            ("files/code/a", "b", True),
            ("files/code/a", ".", True),
            ("files/code/a/b", "..", True),
            ("files/code/a/b", "../..", False),
            ("files/uploads/a/b", "../../code/x", False),
            ("files/uploads/a", "b/..", False),
        ):
            with self.subTest(name=name, target=target):
                self.assertEqual(leads_inside(name, target), inside)


class Manifests(unittest.TestCase):
    def read(self, manifest) -> dict:
        return read_manifest(json.dumps(manifest).encode(), *IDS.values())

    def test_its_own_is_taken(self):
        self.assertEqual(self.read(MANIFEST), MANIFEST)

    def test_that_of_anything_else_is_refused(self):
        for changes in (
            {"site": "aaaaaaaaaa02"},
            {"environment": "bbbbbbbbbb02"},
            {"backup": "cccccccccc02"},
            {"scope": "db"},
            {"format": 2},
            {"parts": {"database": True, "files": False}},
            {"parts": {"database": 1, "files": True}},
            {"parts": None},
        ):
            with self.subTest(changes=changes), self.assertRaises(Invalid):
                self.read({**MANIFEST, **changes})
        for text in (b"", b"[]", b"{", b"\xff"):
            with self.subTest(text=text), self.assertRaises(Invalid):
                read_manifest(text, *IDS.values())


class Files(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = made.name
        os.makedirs(f"{made.name}/staging")
        for name, value in {"SITES": f"{made.name}/sites", "STAGING": f"{made.name}/staging"}.items():
            patch = mock.patch.object(site, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.environment = Environment(IDS["site"], IDS["environment"])
        self.generation = Generation(self.environment, "20260101000000")
        release = self.generation.release
        os.makedirs(f"{release}/wp-content")
        os.makedirs(f"{release}/wp-includes")
        os.makedirs(f"{self.generation.uploads}/2026")
        place_link(f"releases/{self.generation.name}", self.generation.live)
        self.environment.switch_current(self.generation)
        self.write(self.generation.config, "SECRET")
        self.write(f"{release}/index.php", "<?php")
        self.write(f"{release}/wp-includes/version.php", "<?php\n$wp_version = '7.1.1';\n")
        self.write(f"{self.generation.uploads}/2026/a.jpg", "picture")
        os.symlink("../../wp-config.php", f"{release}/wp-config.php")
        os.symlink("../../../uploads", f"{release}/wp-content/uploads")
        self.dump = "SET NAMES utf8;\n"
        for name, value in {"dump_database": self.dumped, "wordpress_version": lambda _generation: "7.1.1"}.items():
            patch = mock.patch.object(making, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    @staticmethod
    def write(path: str, text: str):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def dumped(self, request, _generation, _left_out):
        if self.dump is None:
            return "there is no database"
        self.write(f"{request.work}/database.sql", self.dump)
        return None

    def request(self, scope="full", as_far_as_there=False):
        return making.Request(self.environment, IDS["backup"], scope, "http://x.test", as_far_as_there)

    def members(self, path: str) -> dict[str, bytes]:
        text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(text), mode="r:") as tar:
            return {info.name: tar.extractfile(info).read() if info.isfile() else b"" for info in tar}

    def staged(self) -> list[str]:
        return sorted(os.listdir(site.STAGING))


class Backups(Files):
    def test_a_backup_holds_the_manifest_the_dump_and_the_files_in_this_order_and_no_secret(self):
        result, changed = making.make(self.request())
        self.assertTrue(changed)
        members = self.members(result["path"])
        self.assertEqual(list(members)[:2], ["manifest.json", "database.sql"])
        self.assertEqual(members["files/code/index.php"], b"<?php")
        self.assertEqual(members["files/uploads/2026/a.jpg"], b"picture")
        self.assertNotIn("files/code/wp-config.php", members)
        self.assertNotIn("files/code/wp-content/uploads", members)
        self.assertNotIn(b"SECRET", b"".join(members.values()))
        manifest = json.loads(members["manifest.json"])
        self.assertEqual({key: manifest[key] for key in IDS}, IDS)
        self.assertEqual((manifest["parts"], manifest["missing"], manifest["left_out"]), (PARTS, {}, []))
        self.assertEqual(
            (manifest["url"], manifest["wordpress_version"], manifest["table_prefix"]), ("http://x.test", "7.1.1", "wp_")
        )

    def test_size_and_digest_are_those_of_the_file_which_is_private(self):
        result, _changed = making.make(self.request())
        with open(result["path"], "rb") as file:
            text = file.read()
        self.assertEqual((result["size_bytes"], result["sha256"]), (len(text), hashlib.sha256(text).hexdigest()))
        self.assertEqual(os.stat(result["path"]).st_mode & 0o777, 0o600)
        self.assertEqual(self.staged(), [f"{IDS['backup']}.json", f"{IDS['backup']}.tar.zst"])

    def test_what_it_holds_can_be_restored(self):
        result, _changed = making.make(self.request())
        imports.check_file(result["path"], result["size_bytes"], result["sha256"])
        imports.manifest_of(result["path"], *IDS.values())
        imports.check_members(result["path"])

    def test_each_scope_holds_its_part(self):
        for scope, database, files in (("db", True, False), ("files", False, True)):
            with self.subTest(scope=scope):
                result, _changed = making.make(self.request(scope))
                members = self.members(result["path"])
                self.assertEqual(("database.sql" in members, "files/code/index.php" in members), (database, files))
                os.unlink(result["path"])

    def test_a_finished_backup_is_reported_again_and_another_one_is_not(self):
        first, _changed = making.make(self.request())
        self.assertEqual(making.make(self.request()), (first, False))
        self.write(first["path"], "cut")
        self.assertTrue(making.make(self.request())[1])
        self.assertTrue(making.make(self.request("files"))[1])

    def test_what_a_killed_run_left_is_thrown_away(self):
        request = self.request()
        self.write(request.part, "half")
        os.makedirs(request.work)
        self.write(f"{request.work}/database.sql", "half")
        self.write(f"{site.STAGING}/dddddddddddd.json", "{}")
        making.make(request)
        self.assertEqual(self.staged(), [f"{IDS['backup']}.json", f"{IDS['backup']}.tar.zst"])

    def test_what_could_not_come_back_is_left_out_and_named(self):
        uploads = f"{self.generation.uploads}/2026"
        os.symlink("/etc/passwd", f"{uploads}/out")
        os.symlink("a.jpg", f"{uploads}/in")
        os.symlink(uploads, f"{uploads}/absolute")
        os.mkfifo(f"{uploads}/pipe")
        os.link(f"{uploads}/a.jpg", f"{uploads}/hard.jpg")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"{uploads}/s")
            result, _changed = making.make(self.request())
        members = self.members(result["path"])
        left_out = [f"uploads/2026/{name}" for name in ("absolute", "out", "pipe", "s")]
        self.assertEqual(json.loads(members["manifest.json"])["left_out"], left_out)
        self.assertEqual({name.rpartition("/")[2] for name in members if "2026/" in name}, {"a.jpg", "in", "hard.jpg"})
        self.assertEqual(members["files/uploads/2026/hard.jpg"], b"picture")
        imports.check_members(result["path"])

    def test_a_missing_part_is_a_failure_or_recorded_as_was_asked(self):
        self.dump = None
        shutil.rmtree(self.generation.uploads)
        with self.assertRaisesRegex(SiteError, "database .* no database; .*files .* uploads"):
            making.make(self.request())
        self.assertEqual(self.staged(), [])
        result, _changed = making.make(self.request(as_far_as_there=True))
        manifest = json.loads(self.members(result["path"])["manifest.json"])
        self.assertEqual(manifest["parts"], {"database": False, "files": False})
        self.assertEqual(set(manifest["missing"]), {"database", "files"})
        with self.assertRaises(Invalid):
            imports.manifest_of(result["path"], *IDS.values())

    def test_a_full_disk_is_said_in_words_and_nothing_is_left(self):
        with mock.patch.object(making, "pack", side_effect=OSError(28, "No space left on device")):
            with self.assertRaisesRegex(SiteError, "disk is full: [0-9]+ MiB are left"):
                making.make(self.request())
        self.assertEqual(self.staged(), [])

    def test_a_file_that_changes_or_goes_is_no_failure_and_any_other_error_of_tar_is(self):
        request = self.request()
        os.makedirs(request.work)
        self.assertEqual(making.pack(request, ["sh", "-c", "echo x; exit 1"])[0] > 0, True)
        os.unlink(request.part)
        with self.assertRaises(CommandError):
            making.pack(request, ["sh", "-c", "echo x; echo broken >&2; exit 2"])


class Archives(Files):
    def setUp(self):
        super().setUp()
        self.result, _changed = making.make(self.request())

    def check(self, **changes):
        wanted = {"path": self.result["path"], "size": self.result["size_bytes"], "sha256": self.result["sha256"], **changes}
        imports.check_file(**wanted)

    def test_a_flipped_byte_another_size_and_a_missing_file_are_refused(self):
        self.check()
        for changes in ({"size": 1}, {"sha256": "0" * 64}, {"path": "/nonexistent"}):
            with self.subTest(changes=changes), self.assertRaises(Invalid):
                self.check(**changes)
        with open(self.result["path"], "r+b") as file:
            file.seek(self.result["size_bytes"] // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        with self.assertRaises(Invalid):
            self.check()

    def test_what_zstd_cannot_read_to_its_end_is_refused(self):
        with open(self.result["path"], "rb") as file:
            text = file.read()
        for broken in (b"", b"not zstd", text[: len(text) // 2], text + b"garbage"):
            with self.subTest(length=len(broken)):
                with open(self.result["path"], "wb") as file:
                    file.write(broken)
                with self.assertRaises(Invalid):
                    imports.check_members(self.result["path"])


if __name__ == "__main__":
    unittest.main()
