"""Algorithms run by `sojourn app run` on pictures, without a server."""

import base64
import json
import os
import secrets
import struct
import tempfile
import unittest
import zlib
from pathlib import Path

from e2e.program import SOURCE, clean_environment, command

PICTURES = SOURCE / "apps" / "coin-inspection" / "pictures"
COINS = SOURCE / "apps" / "coin-inspection-python"

# 16 by 16 pixels, gray.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU"
    "FRUVDA8XGBYUGBIUFRT/wAALCAAQABABAREA/8QAFwAAAwEAAAAAAAAAAAAAAAAAAQIDB//EACAQAAICAgIDAQEAAAAAAAAAAAEC"
    "AwQREiExEzNBAAX/2gAIAQEAAD8AzLRv5sApyrYqwI3ifKCVEjQMhIyMgFI7JIUdyDs8h2qyW52ZIK73NlcPSmKNCzHUn6QRJYkx"
    "yPVjvJAarHUgZkgsJT1Vw9KYOsyqNSfgIMdeTHJ9uOskzfxyvPFdnr2NlIlaZRAUZgUYg4AIDvZcjB4TsLg/v//Z"
)



def png(width, height, bits, kind, pixels, *chunks, interlaced=0):
    """A file of PNG: kind 0 is grey, 2 is RGB, 3 has a palette, 4 is grey with alpha, 6 RGB with alpha."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind] + 7) // 8
    lines = pixels if interlaced else b"".join(b"\0" + pixels[y * row : (y + 1) * row] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content)
        for name, content in ((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")))


# Does what its parameters say, when it has told of what it holds.
HOLDS = """
import os, signal
from pathlib import Path
from sojourn import App, serve

class Holds(App):
    def detect(self, session, input):
        params = input["steps"][0]["user_params"]
        if "known" in params:
            session.resources.add(params["known"], "lamp", lambda: None)
        for name in params.get("shm", []):  # which is answered, so that what was told before has arrived too
            session.resources.add(name, "buffer", lambda: None, cleanup_note={"shm": "/" + name})
            Path("/dev/shm", name).write_bytes(b"x")
        for path in params.get("paths", []):
            session.resources.add(path, "folder", lambda: None, cleanup_note={"path": path})
            Path(path).mkdir()
        if params.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"result_status": "OK", "steps": []}

serve(Holds)
"""

LOOK = """
import sys
from sojourn.steps import Algorithm, open_image

class Look(Algorithm):
    def get_info(self):
        steps = [{"index": 1, "name": "look", "params": [{"key": "n", "type": "int", "default": 1}]}, {"index": 2, "name": "again"}]
        return {"name": "look", "version": "1", "steps": steps, "supported_pids": ["A01"]}

    def pre_execute(self, *_):
        return {"status": "OK", "data": {}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        self.logger.info("looking")
        print("a word of its own", file=sys.stderr)
        data = {"result_status": "OK", "params": user_params, "seen": None}
        if shared_mem_id:
            image = open_image(shared_mem_id, image_meta)
            data["seen"] = [image.width, image.height, image.channels, sum(image.data)]
            data["format"], data["values"] = image.format, image.data[:16].hex()
        if pid == "A01" and user_params.get("n") == 2:
            data.update(result_status="NG", ng_reason="two", defect_rects=[])
        return {"status": "OK", "data": data}
"""


class AppRun(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.app = self.folder / "look"
        self.app.mkdir()
        (self.app / "look.py").write_text(LOOK)
        (self.app / "app.toml").write_text(
            'name = "look"\ncommand = ["/usr/bin/python3", "-m", "sojourn.steps", "look:Look"]\n'
            f'functions = ["info", "execute", "detect"]\n[env]\nPYTHONPATH = "{SOURCE}/sdk/python"\n'
        )

    def run_app(self, app, *words, code=0):
        done = command("app", "run", app, *words, cwd=self.folder)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def image(self, name, content):
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def test_a_missing_coin_is_found_on_pictures(self):
        words = []
        for name in ("reference", "reference", "missing"):
            words += ["--image", PICTURES / f"{name}.png"]
        lines = self.run_app(COINS, *words).stdout.splitlines()
        self.assertEqual([line.split()[:3] for line in lines],
                         [["step", "1", "OK"], ["step", "2", "OK"], ["step", "3", "NG"], ["in", "all", "NG"]])
        self.assertTrue(lines[3].endswith("1 missing, 0 foreign, 0 damaged"), lines[3])
        outcome = json.loads(self.run_app(COINS, *words, "--json", "--folder", "kept").stdout)
        self.assertEqual((outcome["result_status"], len(outcome["steps"])), ("NG", 3))
        self.assertEqual((self.folder / "kept" / "annotated.png").read_bytes()[:4], b"\x89PNG")

    def test_pictures_and_parameters_go_to_the_steps_in_their_order(self):
        jpeg = self.image("a.jpg", JPEG)
        done = self.run_app(self.app, "--pid", "A01", "--image", "-", "--image", jpeg, "--params", '{"n": 2}', "--json")
        first, second = (step["data"] for step in json.loads(done.stdout)["steps"])
        self.assertEqual((first["seen"], first["params"], first["ng_reason"]), (None, {"n": 2}, "two"))
        self.assertEqual((second["seen"][:3], second["params"]), ([16, 16, 1], {}))
        self.assertIn("app: looking", done.stderr)
        self.assertIn("stderr: a word of its own", done.stderr)

    def values_of(self, content):
        """The pixel format of a picture, and its first bytes in it."""
        words = ("--pid", "A01", "--image", self.image("a.png", content), "--json")
        data = json.loads(self.run_app(self.app, *words).stdout)["steps"][0]["data"]
        return data["format"], bytes.fromhex(data["values"])

    def test_a_picture_has_the_values_of_its_file(self):
        values = [0, 1, 40_000, 65_535]
        wide = struct.pack(">4H", *values), struct.pack("=4H", *values)
        gamma = (b"gAMA", struct.pack(">I", 45_455))  # what a viewer may do with the values; nothing here
        colours = (b"PLTE", bytes(range(12)))
        for content, format, expected in (
            (png(4, 1, 8, 0, b"\1\2\3\xff"), "gray8", b"\1\2\3\xff"),
            (png(4, 1, 8, 0, b"\1\2\3\xff", gamma), "gray8", b"\1\2\3\xff"),
            (png(4, 1, 2, 0, b"\x1b"), "gray8", b"\x00\x55\xaa\xff"),
            (png(2, 2, 8, 0, b"\0\1" + b"\0\2" + b"\0\3\4", interlaced=1), "gray8", b"\1\2\3\4"),
            (png(2, 2, 16, 0, wide[0]), "gray16", wide[1]),
            (png(2, 2, 16, 0, wide[0], gamma), "gray16", wide[1]),
            (png(1, 1, 8, 2, b"\1\2\3"), "rgb8", b"\1\2\3"),
            (png(4, 1, 2, 3, b"\x1b", colours), "rgb8", bytes(range(12))),
            (png(1, 1, 2, 3, b"\x40", colours, (b"tRNS", b"\xff\7")), "rgba8", b"\3\4\5\7"),
            (png(1, 1, 8, 4, b"\5\6"), "rgba8", b"\5\5\5\6"),
            (png(1, 1, 8, 6, b"\1\2\3\4"), "rgba8", b"\1\2\3\4"),
        ):
            with self.subTest(format=format, expected=expected):
                self.assertEqual(self.values_of(content), (format, expected))

    def test_sixteen_bits_are_taken_of_grey_only_and_others_refused_by_name(self):
        for kind, channels in ((2, 3), (4, 4), (6, 4)):
            content = png(1, 1, 16, kind, bytes(8))
            done = self.run_app(self.app, "--pid", "A01", "--image", self.image("wide.png", content), code=1)
            self.assertIn(f"wide.png: has 16 bits in each of {channels} channels; with 16 bits only one of grey", done.stderr)

    def test_what_is_no_whole_picture_is_never_shown_to_an_algorithm(self):
        png = (PICTURES / "reference.png").read_bytes()
        cases = (("cut.png", png[: len(png) // 2]), ("cut.jpg", JPEG[: len(JPEG) // 2]), ("no.jpg", JPEG[:10]), ("short.jpg", JPEG[:-60]),
                 ("changed.png", png[:1000] + b"xx" + png[1002:]), ("text.png", b"not a picture"), ("empty.png", b""))
        for name, content in cases:
            with self.subTest(name=name):
                done = self.run_app(self.app, "--pid", "A01", "--image", self.image(name, content), code=1)
                self.assertIn(name, done.stderr)
        self.run_app(self.app, "--image", self.folder / "none.png", code=1)

    def test_what_fails_is_told_with_its_code(self):
        refused = self.run_app(self.app, "--pid", "B", "--json", code=1)
        error = json.loads(refused.stderr or refused.stdout)["error"]
        self.assertEqual((error["code"], error["details"]["error"]), ("app_error", "invalid_pid"))
        self.assertIn("function detect", self.run_app(SOURCE / "apps" / "counter", code=1).stderr)
        self.run_app(self.app, "--params", "{", code=2)

    def test_a_step_that_fails_is_told_by_its_number_with_the_advice_of_the_table(self):
        done = self.run_app(self.app, "--pid", "A01", "--params", "{}", "--params", '{"m": 1}', code=1)
        self.assertEqual(done.stderr.splitlines()[-2:], [
            "sojourn: step 2: user_params.m: the step declares no such parameter (1006 invalid_params)",
            "         Correct the parameter that the message names."])

    def test_an_exception_is_told_with_its_line(self):
        (self.app / "look.py").write_text(LOOK.replace("if shared_mem_id:", "if 1 / 0:"))
        done = self.run_app(self.app, "--pid", "A01", code=1)
        self.assertRegex(done.stderr, r'(?s)Traceback .*look.py", line \d+, in execute\n.*'
                                      r"sojourn: step 1: ZeroDivisionError: division by zero \(1009 algorithm_failed\)")

    def test_a_teardown_that_fails_is_told_and_fails_the_check(self):
        text = LOOK.replace("    def pre_execute", "    def teardown(self):\n        raise OSError('lamp 3')\n\n    def pre_execute")
        (self.app / "look.py").write_text(text)
        self.assertIn("clean-up failed: ", self.run_app(self.app, "--pid", "A01").stderr)
        checks = json.loads(command("app", "check", self.app, "--json").stdout)["checks"]
        (failed,) = [check for check in checks if check["result"] == "FAIL"]
        self.assertEqual(failed["name"], "clean-up")
        self.assertIn("teardown: OSError: lamp 3", failed["message"])

    def test_leaves_no_picture_and_no_folder_behind(self):
        scratch = self.folder / "scratch"
        scratch.mkdir()
        jpeg = self.image("a.jpg", JPEG)
        trace = self.folder / "trace.py"
        trace.write_text(LOOK.replace('data["seen"] = [', 'open("/proc/self/cwd/id", "w").write(shared_mem_id)\n            data["seen"] = ['))
        trace.rename(self.app / "look.py")
        done = command("app", "run", self.app, "--pid", "A01", "--image", jpeg, "--folder", self.folder / "kept",
                       cwd=self.folder, environment={**clean_environment(), "TMPDIR": str(scratch)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(scratch.iterdir()), [])
        image = (self.folder / "kept" / "id").read_text()
        self.assertTrue(image.startswith("sojourn-image-"))
        self.assertFalse(Path("/dev/shm", image).exists())

    def holding(self, **params):
        app = self.folder / "holds"
        app.mkdir(exist_ok=True)
        (app / "main.py").write_text(HOLDS)
        (app / "app.toml").write_text(
            'name = "holds"\ncommand = ["/usr/bin/python3", "{app}/main.py"]\n'
            f'functions = ["detect"]\n[env]\nPYTHONPATH = "{SOURCE}/sdk/python"\n'
        )
        return app, json.dumps(params)

    def test_what_a_worker_held_that_died_is_released(self):
        scratch = tempfile.TemporaryDirectory(prefix="sojourn-e2e-", dir="/tmp")
        self.addCleanup(scratch.cleanup)
        names = [f"sojourn-e2e-{secrets.token_hex(8)}" for _ in range(2)]
        for name in names:
            self.addCleanup(Path("/dev/shm", name).unlink, missing_ok=True)
        folder = Path(scratch.name, "made")
        app, params = self.holding(shm=names, paths=[str(folder)], known="lamp 3", dies=True)
        told = "lamp 'lamp 3' was left behind: only the process that acquired it knew how"
        done = self.run_app(app, "--params", params, code=1)
        self.assertIn(told, done.stderr)
        self.assertEqual([name for name in names if Path("/dev/shm", name).exists()], [])
        self.assertFalse(folder.exists())
        checked = command("app", "check", app, "--json", "--input", json.dumps({"steps": [{"user_params": json.loads(params)}]}))
        self.assertEqual([name for name in names if Path("/dev/shm", name).exists()], [])
        self.assertFalse(folder.exists())
        self.assertIn(["clean-up", "FAIL", told],
                      [list(check.values())[:3] for check in json.loads(checked.stdout)["checks"]])

    def test_what_a_worker_that_closed_well_kept_is_its_own_affair(self):
        name = f"sojourn-e2e-{secrets.token_hex(8)}"
        self.addCleanup(lambda: Path("/dev/shm", name).unlink(missing_ok=True))
        app, params = self.holding(shm=[name])
        self.assertNotIn("left behind", self.run_app(app, "--params", params).stderr)

    def test_an_archive_is_run_as_its_folder_is(self):
        packed = command("app", "pack", self.app, cwd=self.folder)
        self.assertEqual(packed.returncode, 0, packed.stderr)
        self.assertIn("in all", self.run_app(self.folder / "look-0.tar", "--pid", "A01").stdout)


if __name__ == "__main__":
    unittest.main()
