"""The reference tables say what the sources say."""

import re
import tomllib
import unittest

import pages

REFERENCE = pages.ROOT / "docs" / "reference"
SECONDS = {"s": 1, "h": 3600}
BYTES = {"KiB": 1024, "MiB": 1024 * 1024}


def error_rows():
    text = (pages.ROOT / "sojourn/base/error_codes.def").read_text(encoding="utf-8")
    pattern = r'^SOJOURN_ERROR\((\w+), "(\w+)", (\d+), (true|false), "((?:[^"\\]|\\.)*)"\)'
    for name, wire, status, retryable, advice in re.findall(pattern, text, flags=re.MULTILINE):
        advice = advice.replace('\\"', '"').replace("|", "\\|")
        yield f"| `{wire}` | {status} | {'yes' if retryable == 'true' else 'no'} | {advice} |"


def value_of(text):
    """The number that "8 MiB", "10,000" or "600 s" stands for."""
    number, _, unit = text.replace(",", "").partition(" ")
    return int(number) * {**SECONDS, **BYTES}.get(unit, 1)


def limits_of_base():
    values = {}
    text = (pages.ROOT / "sojourn/base/limits.hpp").read_text(encoding="utf-8")
    for name, expression in re.findall(r"inline constexpr (?:auto|std::size_t) (\w+) = ([^;]+);", text):
        expression = expression.replace("'", "").removesuffix("s")
        values[name] = eval(expression, {}, values)  # arithmetic over the names before
    return {name: value for name, value in values.items() if name not in ("kibibyte", "mebibyte")}


class Tables(unittest.TestCase):
    maxDiff = None

    def test_errors_are_those_of_the_registry(self):
        page, _, _ = (REFERENCE / "errors.md").read_text(encoding="utf-8").partition("## Codes of sessions APIs")
        shown = [line for line in page.splitlines() if line.startswith("| `")]
        self.assertEqual(shown, list(error_rows()))

    def test_codes_of_algorithms_are_those_of_their_table(self):
        text = (pages.ROOT / "sojourn/steps/step_codes.def").read_text(encoding="utf-8")
        rows = re.findall(r'^SOJOURN_STEP_CODE\((\d+), (\w+), (true|false), "(.*)"\)', text, flags=re.MULTILINE)
        table = [[f"`{number}`", f"`{name}`", "fatal" if fatal == "true" else "recoverable", advice]
                 for number, name, fatal, advice in rows]
        self.assertEqual(pages.table_rows(pages.ROOT / "docs" / "guide" / "inspection.md", "code"), table)

    def test_limits_are_those_of_the_sources(self):
        shown = {cells[0].strip("`"): value_of(cells[1]) for cells in pages.table_rows(REFERENCE / "limits.md", "name")}
        self.assertEqual(shown, limits_of_base())

    def test_other_limits_are_written_where_the_page_says(self):
        for cells in pages.table_rows(REFERENCE / "limits.md", "bound"):
            path, _, text = cells[3].partition(": ")
            source = (pages.ROOT / path.strip("`")).read_text(encoding="utf-8")
            with self.subTest(bound=cells[0]):
                self.assertIn(text.strip("`"), source)

    def test_the_lifecycle_shown_is_the_one_that_is_built_in(self):
        page = pages.ROOT / "docs" / "formats" / "lifecycle.md"
        shown, = (text for _, marks, text, _ in pages.blocks(page) if "lifecycle" in marks)
        built_in = (pages.ROOT / "lifecycles" / "impact-assessment.toml").read_text(encoding="utf-8")
        self.assertEqual(tomllib.loads(shown), tomllib.loads(built_in))

    def test_tests_that_stand_for_a_promise_are_there(self):
        sources = "".join(path.read_text(encoding="utf-8") for path in (pages.ROOT / "sojourn").rglob("*_test.cpp"))
        written = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", sources, re.MULTILINE)}
        page = pages.ROOT / "docs" / "internals" / "reliability.md"
        rows = pages.table_rows(page, "promise") + pages.table_rows(page, "fault")
        self.assertTrue(rows)
        for named in re.findall(r"`([^`]+)`", " ".join(cells[1] for cells in rows)):
            with self.subTest(test=named):
                path, colon, function = named.partition(": ")
                if colon:
                    self.assertIn(f"def {function}(", (pages.ROOT / path).read_text(encoding="utf-8"))
                else:
                    self.assertIn(named, written)

    def test_tests_that_stand_for_a_fact_of_the_original_are_there(self):
        def sources(folder, pattern):
            return "".join(path.read_text(encoding="utf-8") for path in (pages.ROOT / folder).rglob(pattern))

        written = {f"{suite}.{name}" for suite, name in
                   re.findall(r"^TEST(?:_F)?\((\w+), (\w+)\)", sources("sojourn", "*_test.cpp"), re.MULTILINE)}
        written |= set(re.findall(r"def (test_\w+)\(", sources("sdk/python/tests", "*.py") + sources("tests/e2e", "*.py")))
        rows = pages.table_rows(pages.ROOT / "docs" / "internals" / "procvision.md", "fact")
        self.assertGreater(len(rows), 40)
        named = {name for cells in rows for name in re.findall(r"`([^`]+)`", " ".join(cells[1:]))}
        self.assertEqual(named - written, set())

    def test_tests_that_stand_for_a_case_of_flows_are_there(self):
        sources = "".join(path.read_text(encoding="utf-8") for path in (pages.ROOT / "sojourn/flow").glob("*_test.cpp"))
        written = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_F)?\((\w+), (\w+)\)", sources, re.MULTILINE)}
        page = pages.ROOT / "docs" / "internals" / "railtracks.md"
        cases = pages.table_rows(page, "case")
        self.assertEqual([int(cells[0]) for cells in cases], sorted({int(cells[0]) for cells in cases}))
        self.assertGreater(len(cases), 80)
        rows = cases + [["", *cells] for heading in ("fault", "property") for cells in pages.table_rows(page, heading)]
        for _, what, named in rows:
            tests = re.findall(r"`(\w+\.\w+|[\w/.]+: \w+)`", named)
            with self.subTest(row=what):
                self.assertTrue(tests or named.startswith("does not apply"))
                for test in tests:
                    path, colon, function = test.partition(": ")
                    if colon:
                        self.assertIn(f"def {function}(", (pages.ROOT / path).read_text(encoding="utf-8"))
                    else:
                        self.assertIn(test, written)


if __name__ == "__main__":
    unittest.main()
