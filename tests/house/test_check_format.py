"""scripts/check-format names the files that are not formatted, and only those."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["SOJOURN_SOURCE"])
CHECK = SOURCE / "scripts" / "check-format"


class CheckFormat(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        shutil.copy(SOURCE / ".clang-format", self.root)
        self.write("sojourn/base/good.hpp", "#pragma once\n\nint answer();\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self):
        done = subprocess.run([CHECK, self.root], capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def test_formatted_files_pass(self):
        self.assertEqual(self.check(), (0, []))

    def test_names_each_file_that_is_not_formatted_once(self):
        self.write("sojourn/base/bad.cpp", "int  answer( ) {return 42;}\nint  other( ) {return 43;}\n")
        self.write("tests/fault/bad.hpp", "#pragma once\nint*p;\n")
        code, lines = self.check()
        self.assertEqual(code, 1)
        self.assertEqual(lines, ["not formatted: sojourn/base/bad.cpp", "not formatted: tests/fault/bad.hpp",
                                 "run ./scripts/format"])

    def test_what_is_built_or_foreign_is_not_looked_at(self):
        self.write("build/release/bad.cpp", "int  x ;\n")
        self.write("sdk/node/node_modules/addon/bad.cpp", "int  x ;\n")
        self.assertEqual(self.check(), (0, []))


if __name__ == "__main__":
    unittest.main()
