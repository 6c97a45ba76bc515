"""Runs the code of docs/guide/writing-an-app.md as a reader would: writes its files, then runs its snippets."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent
GUIDE = SDK.parent.parent / "docs" / "guide" / "writing-an-app.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Guide(unittest.TestCase):
    def test_code_does_what_the_guide_says(self):
        ran = 0
        self.addCleanup(os.chdir, os.getcwd())
        with tempfile.TemporaryDirectory(prefix="sojourn-guide-") as folder:
            (Path(folder) / "sdk").mkdir()
            (Path(folder) / "sdk" / "python").symlink_to(SDK)
            (Path(folder) / "sdk" / "node").symlink_to(SDK.parent / "node")
            os.chdir(folder)
            names: dict = {}
            for language, mark, text in BLOCK.findall(GUIDE.read_text()):
                if mark.startswith("file="):
                    path = Path(mark[len("file=") :])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
                elif mark == "run" and language == "js":
                    subprocess.run(["/usr/bin/node", "--input-type=module", "-e", text], check=True)
                    ran += 1
                elif mark == "run":
                    exec(compile(text, f"{GUIDE.name}, snippet {ran + 1}", "exec"), names)
                    ran += 1
                else:
                    self.assertEqual(language, "console", f"nothing runs this block:\n{text}")
            os.chdir("/")
        self.assertEqual(ran, 5)
