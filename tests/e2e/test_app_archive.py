"""Apps packed into one archive, and installed from it whole or not at all, whatever the archive is."""

import hashlib
import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

from e2e.program import SOURCE, command

TOML = b'name = "x"\nversion = "1.0"\ncommand = ["/bin/true"]\n'
LIST = "sojourn-app.json"


def head(name, size, kind=b"0", link=b""):
    """A member's head as `sojourn app pack` spells it, or with another kind."""
    block = bytearray(512)
    for place, text in ((0, name.encode()), (100, b"0000644"), (108, b"0000000"), (116, b"0000000"),
                        (124, b"%011o" % size), (136, b"00000000000"), (148, b" " * 8), (156, kind), (157, link),
                        (257, b"ustar\x0000")):
        block[place : place + len(text)] = text
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name, content):
    return head(name, len(content)) + content + bytes(-len(content) % 512)


def listed(path, content, **fields):
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "executable": False, **fields}


def archive(files, members=None, **fields):
    """One of `files`, as they are listed; `members` are what is really in it."""
    listing = {"format": "sojourn app 1", "name": "x", "version": "1.0", "files": files, **fields}
    text = json.dumps(listing, separators=(",", ":"), ensure_ascii=False).encode()
    return member(LIST, text) + b"".join(members) + bytes(1024)


class Archives(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.apps = self.folder / "apps"
        self.apps.mkdir()

    def pack(self, app):
        done = command("app", "pack", app, "--json", cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def unpack(self, file, *words):
        return command("app", "unpack", file, "--into", self.apps, *words, cwd=self.folder)

    def app(self, version="1.0"):
        app = self.folder / "source"
        shutil.rmtree(app, ignore_errors=True)
        (app / "deep" / "er").mkdir(parents=True)
        (app / "app.toml").write_bytes(TOML.replace(b"1.0", version.encode()))
        (app / "deep" / "er" / "model.bin").write_bytes(os.urandom(100_000))
        (app / "run.sh").write_text("#!/bin/sh\n")
        (app / "run.sh").chmod(0o755)
        (app / ("n" * 150)).write_text("a long name")
        return app

    def refused(self, content, words):
        file = self.folder / "hostile.tar"
        file.write_bytes(content)
        done = self.unpack(file)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(words, done.stderr)
        self.assertEqual(list(self.apps.iterdir()), [])
        self.assertEqual({file.name for file in self.folder.iterdir()}, {"apps", "hostile.tar"})
        report = json.loads(command("app", "check", file, "--json").stdout)
        self.assertEqual([(check["name"], check["result"]) for check in report["checks"]], [("archive", "FAIL")])

    def test_an_app_is_installed_as_it_was_packed(self):
        app = self.app()
        for left_out in (".git/config", "build/x.o", "__pycache__/a.pyc", "deep/__pycache__/a.pyc", "x-0.9.tar", LIST):
            (app / left_out).parent.mkdir(exist_ok=True)
            (app / left_out).write_text("not for others")
        packed = self.pack(app)
        self.assertEqual(packed, {"name": "x", "version": "1.0", "file": "x-1.0.tar", "files": 4, "bytes": packed["bytes"]})
        done = self.unpack("x-1.0.tar")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = {str(file.relative_to(self.apps / "x")) for file in (self.apps / "x").rglob("*") if file.is_file()}
        self.assertEqual(found, {"app.toml", "deep/er/model.bin", "run.sh", "n" * 150, LIST})
        for file in found - {LIST}:
            self.assertEqual((self.apps / "x" / file).read_bytes(), (app / file).read_bytes())
        self.assertTrue(os.access(self.apps / "x" / "run.sh", os.X_OK))
        self.assertFalse(os.access(self.apps / "x" / "app.toml", os.X_OK))

    def test_the_same_app_is_the_same_archive(self):
        app = self.app()
        self.pack(app)
        first = (self.folder / "x-1.0.tar").read_bytes()
        os.utime(app / "run.sh", (1, 1))
        self.pack(app)
        self.assertEqual((self.folder / "x-1.0.tar").read_bytes(), first)

    def test_what_is_not_as_it_was_packed_fails_the_check(self):
        self.pack(SOURCE / "apps" / "counter")
        self.assertEqual(self.unpack("counter-1.0.0.tar").returncode, 0)
        app = self.apps / "counter"

        def message():
            report = json.loads(command("app", "check", app, "--json").stdout)
            return {check["name"]: (check["result"], check["message"]) for check in report["checks"]}["files"]

        self.assertEqual(message(), ("PASS", "4 files as they were packed"))
        readme = (app / "README.md").read_bytes()
        (app / "README.md").write_bytes(readme[:-1] + b"x")
        self.assertEqual(message(), ("FAIL", "README.md was changed"))
        (app / "README.md").unlink()
        (app / "extra.py").write_text("")
        self.assertEqual(message(), ("FAIL", "README.md is missing; extra.py was added"))
        (app / LIST).write_text("{")
        self.assertEqual(message()[0], "FAIL")

    def test_another_version_takes_its_place_when_it_is_told_to(self):
        self.pack(self.app())
        self.pack(self.app("2.0"))
        self.assertEqual(self.unpack("x-1.0.tar").returncode, 0)
        refused = self.unpack("x-2.0.tar")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("--replace", refused.stderr)
        self.assertIn(b"1.0", (self.apps / "x" / "app.toml").read_bytes())
        self.assertEqual(self.unpack("x-2.0.tar", "--replace").returncode, 0)
        self.assertIn(b"2.0", (self.apps / "x" / "app.toml").read_bytes())
        self.assertEqual([file.name for file in self.apps.iterdir()], ["x"])

    def test_no_archive_reaches_outside_its_folder(self):
        toml = (listed("app.toml", TOML), member("app.toml", TOML))
        for path in ("../evil", "a/../../evil", "/tmp/evil", "a//b", "./a", "a/", "", "a\nb", LIST, "a/" + "x" * 256, ".git/config",
                     "build/x", "a/__pycache__/b"):
            with self.subTest(path=path):
                self.refused(archive([listed(path, b"evil"), toml[0]], [member("evil", b"evil"), toml[1]]), "files[0].path")
        self.assertFalse((self.folder / "evil").exists())

    def test_a_list_has_one_spelling(self):
        toml, content = listed("app.toml", TOML), member("app.toml", TOML)
        whole = archive([toml], [content])
        text = whole[512:].split(b"\0", 1)[0]
        spaced = text.replace(b":", b": ", 1)
        self.refused(member(LIST, spaced) + content + bytes(1024), "its list is in another spelling")
        self.refused(archive([toml, listed("x-9.tar", b"")], [content, member("x-9.tar", b"")]), '"x-9.tar" is an archive of it')

    def test_a_folder_that_is_not_there_is_named(self):
        self.pack(self.app())
        done = command("app", "unpack", "x-1.0.tar", "--into", self.folder / "nowhere", cwd=self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nowhere is no folder", done.stderr)

    def test_only_plain_files_are_unpacked_and_each_once(self):
        toml, content = listed("app.toml", TOML), member("app.toml", TOML)
        for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7"):
            with self.subTest(kind=kind):
                self.refused(archive([toml, listed("link", b"")], [content, head("link", 0, kind, b"/etc/passwd")]),
                             "a file's head is not as it was written")
        self.refused(archive([toml, toml], [content, content]), '"app.toml" is there twice')
        self.refused(archive([toml, listed("app.toml/x", b"")], [content, member("app.toml/x", b"")]), "is a file and a folder")
        self.refused(archive([toml], [content, content]), "it holds more than is listed")
        self.refused(archive([toml, listed("b", b"")], [content, member("c", b"")]), "b is not where it is listed")
        self.refused(member("app.toml", TOML) + bytes(1024), f"it does not begin with {LIST}")

    def test_one_that_claims_too_much_is_refused_before_it_is_unpacked(self):
        toml = listed("app.toml", TOML)
        self.refused(archive([toml, listed("big", b"", bytes=1 << 33)], []), "at most 4294967296 bytes")
        self.refused(archive([listed(f"{n:06}", b"") for n in range(10_001)], []), "at most 10000 files")
        self.refused(head(LIST, 1 << 30), "list of files is too large")

    def test_one_that_is_another_app_than_it_says_is_refused(self):
        toml, content = listed("app.toml", TOML), member("app.toml", TOML)
        self.refused(archive([toml], [content], version="2"), "its app.toml is that of x 1.0, its list that of x 2")
        self.refused(archive([listed("a", b"")], [member("a", b"")]), "app.toml: there is no such file")
        self.refused(archive([toml], [content], format="sojourn app 2"), "format: must be")
        self.refused(archive(5, []), "files: must be a list")
        self.refused(archive([toml], [content]).replace(b'"executable":false', b'"executable":12345'), "executable")

    def test_every_changed_byte_and_every_missing_one_is_found(self):
        shutil.copytree(SOURCE / "apps" / "counter", self.folder / "source")
        self.pack(self.folder / "source")
        whole = (self.folder / "counter-1.0.0.tar").read_bytes()
        shutil.rmtree(self.folder / "source")
        (self.folder / "counter-1.0.0.tar").unlink()
        for place in (0, 130, 600, 700, len(whole) // 2, len(whole) - 1500, len(whole) - 1):
            with self.subTest(changed=place):
                self.refused(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], "hostile.tar")
        for length in (0, 100, 512, len(whole) // 2, len(whole) - 1024, len(whole) - 1):
            with self.subTest(length=length):
                self.refused(whole[:length], "it is cut off")
        self.refused(whole + b"\0", "something after its end")

    def test_links_and_pipes_are_not_packed(self):
        app = self.app()
        (app / "link").symlink_to("/etc/passwd")
        done = command("app", "pack", app, cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("link is a link or no plain file", done.stderr)
        (app / "link").unlink()
        os.mkfifo(app / "pipe")
        self.assertEqual(command("app", "pack", app, cwd=self.folder).returncode, 1)
        self.assertEqual([file.name for file in self.folder.glob("*.tar*")], [])
        self.assertEqual(command("app", "pack", self.folder, cwd=self.folder).returncode, 1)  # it has no app.toml


if __name__ == "__main__":
    unittest.main()
