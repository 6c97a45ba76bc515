"""Runs the code of docs/guide/calling-from-python.md as a reader would, and holds what it prints against the page.

A block "```python run" is run in the names of those before it; "```text prints" after it is what it prints.
"""

import contextlib
import io
import os
import unittest
from unittest import mock

import pages

GUIDE = pages.ROOT / "docs" / "guide" / "calling-from-python.md"


class Guide(unittest.TestCase):
    def test_code_prints_what_the_guide_says(self):
        names = {"__name__": "guide"}
        printed = None
        with pages.temporary_folder() as folder, pages.Server(folder) as server, \
                mock.patch.dict(os.environ, {"SOJOURN_URL": server.url}):
            try:
                for language, marks, text, number in pages.blocks(GUIDE):
                    where = f"{GUIDE.name}:{number}"
                    if language == "python" and marks == ["run"]:
                        self.assertFalse(printed, f"{where}: the block before prints what the page does not show")
                        printed = self.run_block(text.replace("http://127.0.0.1:8080", server.url), where, names)
                    elif marks == ["prints"]:
                        self.assertEqual(printed, text + "\n", where)
                        printed = None
                    else:
                        self.assertTrue(marks[0].startswith("from="), f"{where}: nothing runs this block")
            finally:
                names["client"].close()

    def run_block(self, text, where, names):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, where, "exec"), names)
        return printed.getvalue()


if __name__ == "__main__":
    unittest.main()
