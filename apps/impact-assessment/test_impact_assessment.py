import hashlib
import math
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import impact
from changes import History, read_history
from search import Index, NoMatchesFoundError, select, words_of

APP = Path(__file__).parent
FINDUTILS = APP / "history" / "findutils-changelog.gz"

SMALL = """\
2021-03-02  Ann Archer  <ann@example.com>
\t    Bob Baker  <bob@example.com>

\tparser: accept sizes in kilobytes
\tNobody counts in blocks.
\t* src/parser.c (parse_size, parse_unit): Accept k.
\t(usage): Say so.
\t* tests/size.sh: New test.

\tFixes bug 7.

2021-03-01  Ann Archer  <ann@example.com>

\tprinter: fix a crash with an empty size
\t* src/printer.c (print_size): Look first.

\tparser: rename
\t* src/parser.c: Rename.

1999-01-01  Carl Cook

\t* parser.c: First version.
\t* NEWS, README: Likewise.
"""


def history_of(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ChangeLog"
        path.write_text(text)
        return read_history(path)


class Histories(unittest.TestCase):
    def test_changes_are_read_with_their_files_and_functions(self):
        changes = history_of(SMALL).changes
        self.assertEqual([(one.number, one.date, one.author) for one in changes],
                         [(1, "1999-01-01", "Carl Cook"), (2, "2021-03-01", "Ann Archer"),
                          (3, "2021-03-01", "Ann Archer"), (4, "2021-03-02", "Ann Archer")])
        self.assertEqual([one.summary for one in changes],
                         ["parser.c: First version.", "parser: rename", "printer: fix a crash with an empty size",
                          "parser: accept sizes in kilobytes"])
        self.assertEqual(changes[3].files, {"src/parser.c": {"parse_size", "parse_unit", "usage"}, "tests/size.sh": set()})
        self.assertTrue(changes[3].text.endswith("Fixes bug 7."))

    def test_files_without_folder_get_the_only_one_that_there_is(self):
        self.assertEqual(set(history_of(SMALL).changes[0].files), {"src/parser.c", "NEWS", "README"})

    def test_what_is_no_history_is_refused(self):
        for text in ("", "nothing\n", "2021-03-02 no two spaces\n"):
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, "no change"):
                history_of(text)

    def test_findutils_is_what_its_readme_says(self):
        said = (FINDUTILS.parent / "README.md").read_text()
        changes = read_history(FINDUTILS).changes
        self.assertIn(hashlib.sha256(FINDUTILS.read_bytes()).hexdigest(), said)
        self.assertIn(f"{len(changes):,} changes from {changes[0].date} to {changes[-1].date}", said)
        files = Counter(path for change in changes for path in change.files)
        self.assertEqual([path for path, _ in files.most_common(3)], ["NEWS", "find/parser.c", "doc/find.texi"])


class Search(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.history = read_history(FINDUTILS)
        cls.index = Index(cls.history)

    def test_words(self):
        self.assertEqual(words_of("The files, parse_size() and -delete of FILES!"),
                         ["fil", "parse_siz", "pars", "siz", "-delet", "delet", "fil"])

    def test_score_is_what_is_written(self):
        index = Index(history_of(SMALL))
        [best, *_] = index.find("crash of an empty printer size")
        rarity = {word: index.rarity[word] for word in words_of("crash of an empty printer size")}
        change = Counter(words_of("printer: fix a crash with an empty size\n" + history_of(SMALL).changes[2].text))
        vector = {word: (1 + math.log(count)) * index.rarity[word] for word, count in change.items()}
        cosine = sum(rarity[word] * vector[word] for word in rarity) / math.hypot(*rarity.values()) / math.hypot(*vector.values())
        self.assertEqual((best.number, best.keywords, best.similarity), (3, 1.0, round(cosine, 4)))
        self.assertAlmostEqual(best.score, 0.6 * cosine + 0.4, places=3)

    def test_a_changes_own_words_find_it(self):
        for number in range(3, len(self.history.changes), 97):
            change = self.history.by_number[number]
            with self.subTest(number=number):
                self.assertIn(number, [match.number for match in self.index.find(change.text)[:2]])

    def test_finds_what_a_reader_would(self):
        found = self.index.find("find should print the SELinux security context of a file")
        self.assertTrue(all("selinux" in self.history.by_number[match.number].text.lower() for match in found[:3]))
        found = self.index.find("xargs should reap its child processes when a signal comes")
        self.assertIn("Reap all available child processes", self.history.by_number[found[0].number].text)

    def test_what_has_nothing_in_common_finds_nothing(self):
        for text in ("Give the moon a coat of cheese", "", "zzyzx"):
            with self.subTest(text=text), self.assertRaises(NoMatchesFoundError):
                self.index.find(text)

    def test_only_what_is_half_as_good_is_selected(self):
        found = self.index.find("xargs should run several processes in parallel")
        chosen = select(found)
        self.assertEqual(chosen, found[: len(chosen)])
        self.assertGreaterEqual(2 * chosen[-1].score, found[0].score)


class Impact(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.history = read_history(FINDUTILS)
        cls.matches = select(Index(cls.history).find("xargs should reap its child processes when a signal comes"))
        cls.evidence = impact.Evidence(cls.history, cls.matches)

    def test_shares_are_of_the_weight(self):
        total = sum(match.score for match in self.matches if self.history.by_number[match.number].files)
        share = sum(match.score for match in self.matches if "xargs/xargs.c" in self.history.by_number[match.number].files)
        self.assertAlmostEqual(dict(self.evidence.shares(lambda path: path))["xargs/xargs.c"], share / total)
        [module] = [module for module in impact.modules(self.evidence) if module["module"] == "xargs"]
        self.assertEqual((module["files"], module["share"]), (["xargs/xargs.c"], round(share / total, 3)))

    def test_effort_is_within_what_similar_changes_were(self):
        effort = impact.effort(self.evidence, impact.modules(self.evidence))
        size = effort["size"]
        self.assertLessEqual(size["low"], size["middle"])
        self.assertLessEqual(size["middle"], size["high"])
        sizes = [sum(1 + len(names) for names in change.files.values()) for change, _ in self.evidence.similar]
        self.assertIn(size["middle"], sizes)
        self.assertIn(effort["story_points"], [points for _, points in impact.POINTS])

    def test_points_grow_with_the_place_in_the_history(self):
        sizes = list(range(1, 101))
        self.assertEqual([impact.points_of(size, sizes) for size in (1, 20, 21, 50, 80, 81, 95, 96, 100)],
                         [1, 1, 2, 3, 5, 8, 8, 13, 13])

    def test_quantiles_are_weighted(self):
        self.assertEqual([impact.quantile([(1, 1.0), (9, 3.0)], share) for share in (0.25, 0.3, 0.5, 1)], [1, 9, 9, 9])
        self.assertEqual(impact.quantile([], 0.5), 0)

    def test_files_that_change_together_are_counted(self):
        code = impact.code_impact(self.evidence)
        self.assertTrue(code["together"])
        for told in code["together"]:
            with_it = [change for change in self.history.changes if told["with"] in change.files]
            both = sum(told["path"] in change.files for change in with_it)
            self.assertEqual((told["changes"], told["share"]), (both, round(both / len(with_it), 3)))

    def test_risks_say_their_counts(self):
        risks = impact.risks(self.evidence, {"files": [{"path": "find/parser.c"}, {"path": "find/find.c"}]})
        [known] = [risk for risk in risks if risk["risk"] == "one person knows it"]
        own = [change for change in self.history.changes if "find/find.c" in change.files]
        self.assertEqual(known["where"], "find/find.c")
        self.assertEqual(known["evidence"], {"author": "James Youngman", "of": len(own),
                                             "changes": sum(change.author == "James Youngman" for change in own)})

    def test_a_history_without_what_is_looked_for_gives_empty_answers(self):
        nothing = impact.Evidence(History([]), [])
        self.assertEqual((impact.modules(nothing), impact.stories("x", nothing, [])), ([], []))


if __name__ == "__main__":
    unittest.main()
