"""The two steps of sdk/node/README.md, done as they stand there; and the package, imported by its name."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.program import SOURCE, Program, stop_if_running

README = SOURCE / "sdk" / "node" / "README.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Readme(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-readme-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_two_steps_lead_to_an_app_that_counts(self):
        (self.folder / "sdk").symlink_to(SOURCE / "sdk")
        commands = []
        for language, mark, text in BLOCK.findall(README.read_text()):
            if mark.startswith("file="):
                path = self.folder / mark.removeprefix("file=")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            else:
                self.assertEqual(language, "console", f"nothing runs this block:\n{text}")
                commands += [line.removeprefix("$ ").split() for line in text.splitlines()]
        self.assertEqual(commands[0], ["sojourn", "serve", "--apps", "apps"])
        server = Program(self.folder / "apps", self.folder / "data").start()
        self.addCleanup(server.log_file.close)
        self.addCleanup(stop_if_running, server)
        done = server.command(*commands[1][1:])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'"count":\s*1')
        server.stop()

    def test_installed_package_is_imported_by_its_name(self):
        (self.folder / "node_modules").mkdir()
        (self.folder / "node_modules" / "sojourn").symlink_to(SOURCE / "sdk" / "node")  # as npm install FOLDER does
        (self.folder / "main.mjs").write_text(
            'import { App, serve } from "sojourn";\n'
            'class Echo extends App { run(input) { return input; } }\nserve(Echo);\n')
        (self.folder / "try.mjs").write_text(
            'import { start } from "sojourn/testing";\nconst worker = await start("main.mjs");\n'
            'console.log((await worker.call("run", 7)).output);\nawait worker.close();\n')
        done = subprocess.run(["/usr/bin/node", "try.mjs"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual((done.stdout, done.stderr), ("7\n", ""))


if __name__ == "__main__":
    unittest.main()
