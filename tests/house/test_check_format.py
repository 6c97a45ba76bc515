"""scripts/check-format names the files that are not formatted, and only those."""
import shutil
import unittest

from checked_tree import SOURCE, CheckedTree


class CheckFormat(CheckedTree):
    script = "check-format"

    def setUp(self):
        super().setUp()
        shutil.copy(SOURCE / ".clang-format", self.root)
        self.write("sojourn/base/good.hpp", "#pragma once\n\nint answer();\n")

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
