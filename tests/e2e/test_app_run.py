"""Algorithms run by `sojourn app run` on pictures, without a server."""

import base64
import json
import os
import tempfile
import unittest
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

    def test_an_archive_is_run_as_its_folder_is(self):
        packed = command("app", "pack", self.app, cwd=self.folder)
        self.assertEqual(packed.returncode, 0, packed.stderr)
        self.assertIn("in all", self.run_app(self.folder / "look-0.tar", "--pid", "A01").stdout)


if __name__ == "__main__":
    unittest.main()
