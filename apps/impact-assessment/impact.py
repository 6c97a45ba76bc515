"""What a history says about a change to come, from the changes that are like it. No opinion: counts, shares and quantiles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from changes import Change, History, folder_of
from search import Match

CODE = (".c", ".h", ".sh", ".y", ".l", ".in")
# A change is as many points as its place among all changes by size: the smallest fifth is 1, the largest twentieth 13.
POINTS = ((0.2, 1), (0.4, 2), (0.6, 3), (0.8, 5), (0.95, 8), (1.0, 13))
FIX = re.compile(r"\b(fix(es|ed)?|bugs?|crash\w*|segfault\w*|overflow\w*|leaks?|regression|wrong|incorrect\w*)\b", re.I)
LEAST_SHARE = 0.1  # of the weight of all matches, for a part or a file to count as touched
TOGETHER = 0.3  # two files belong together where that share of the changes of one touch the other
OLD_YEARS = 5


def part_of(path: str) -> str:
    """The part of the project that a file is: its folder, or what it is for."""
    if "testsuite/" in path or path.startswith("tests/"):
        return "tests"
    if path.startswith(("po/", "intl/")):
        return "translations"
    if path.startswith("doc/") or path.endswith((".texi", ".1", ".5")) or path in ("NEWS", "README", "TODO"):
        return "documentation"
    if folder_of(path) == "." or path.startswith(("m4/", "build-aux/")) or "Makefile" in path:
        return "build"
    return folder_of(path)


class Evidence:
    """A history and the changes in it that are like what is to be done, each with its weight."""

    def __init__(self, history: History, matches: Iterable[Match]) -> None:
        self.history = history
        self.similar = [(history.by_number[match.number], match.score) for match in matches]
        self.similar = [(change, weight) for change, weight in self.similar if change.files]
        self.weight = sum(weight for _, weight in self.similar) or 1.0

    def shares(self, name_of: Callable[[str], str]) -> list[tuple[str, float]]:
        """Which share of the weight has a file of each name, the largest first."""
        found: Counter[str] = Counter()
        for change, weight in self.similar:
            for name in {name_of(path) for path in change.files}:
                found[name] += weight / self.weight
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def modules(evidence: Evidence) -> list[dict[str, Any]]:
    """The parts that similar changes touched, each with its files."""
    files = evidence.shares(lambda path: path)
    return [
        {
            "module": part,
            "share": round(share, 3),
            "changes": sum(any(part_of(path) == part for path in change.files) for change, _ in evidence.similar),
            "files": [path for path, _ in files if part_of(path) == part][:5],
        }
        for part, share in evidence.shares(part_of)
        if share >= LEAST_SHARE and part != "translations"
    ]


def effort(evidence: Evidence, found: list[dict[str, Any]]) -> dict[str, Any]:
    """How large similar changes were: files and functions, and points for each module and for all of it."""
    sizes = sorted(_size(change) for change in evidence.history.changes if change.files)
    parts = []
    for module in found:
        touched = [
            (sum(part_of(path) == module["module"] for path in change.files), weight)
            for change, weight in evidence.similar
        ]
        parts.append({"module": module["module"], "files": quantile([one for one in touched if one[0]], 0.5)})
    sized = [(_size(change), weight) for change, weight in evidence.similar]
    middle = quantile(sized, 0.5)
    return {
        "similar_changes": len(evidence.similar),
        "size": {"low": quantile(sized, 0.25), "middle": middle, "high": quantile(sized, 0.75)},
        "place_in_history": round(sum(size <= middle for size in sizes) / len(sizes), 3),
        "story_points": points_of(middle, sizes),
        "modules": parts,
    }


def stories(requirement: str, evidence: Evidence, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each part with code, with the changes to learn from and what those brought along."""
    made = []
    for module in found:
        if module["module"] in ("tests", "documentation", "build"):
            continue
        like = [change for change, _ in evidence.similar if _touches(change, module["module"])]
        brought = []
        for part in ("tests", "documentation"):
            with_part = [change for change in like if _touches(change, part)]
            examples = Counter(path for change in with_part for path in change.files if part_of(path) == part)
            brought.append(
                {"what": part, "of": len(like), "had": len(with_part), "such_as": _most_common(examples, 3)}
            )
        made.append(
            {
                "title": f"{module['module']}: {requirement.split('.')[0].strip()}",
                "files": module["files"],
                "learn_from": [f"{change.number} {change.date} {change.summary}" for change in like[:3]],
                "acceptance": brought,
            }
        )
    return made


def code_impact(evidence: Evidence) -> dict[str, Any]:
    """Files and functions that similar changes touched, and files that change together with those."""
    touched = [
        (path, share)
        for path, share in evidence.shares(lambda path: path)
        if share >= LEAST_SHARE and path.endswith(CODE) and part_of(path) not in ("tests", "build")
    ][:10]
    files = []
    for path, share in touched:
        functions = Counter(name for change, _ in evidence.similar for name in change.files.get(path, ()))
        files.append({"path": path, "share": round(share, 3), "functions": _most_common(functions, 5)})
    known = {path for path, _ in touched}
    together: dict[str, dict[str, Any]] = {}
    for path, _ in touched[:5]:
        changes = [change for change in evidence.history.changes if path in change.files]
        others = Counter(other for change in changes for other in change.files if other not in known)
        for other, count in sorted(others.items()):
            share = count / len(changes)
            if count >= 3 and share >= TOGETHER and part_of(other) != "translations":
                told = {"path": other, "with": path, "share": round(share, 3), "changes": count}
                together[other] = max(together.get(other, told), told, key=lambda one: one["share"])
    return {"files": files, "together": sorted(together.values(), key=lambda one: (-one["share"], one["path"]))}


def risks(evidence: Evidence, code: dict[str, Any]) -> list[dict[str, Any]]:
    """What went wrong before where this change goes, each with the counts that say so."""
    changes = [change for change in evidence.history.changes if change.files]
    usual = sum(_is_fix(change) for change in changes) / len(changes)
    last_year = int(evidence.history.changes[-1].date[:4])
    found = []
    for file in code["files"][:5]:
        path = file["path"]
        own = [change for change in changes if path in change.files]
        fixes = sum(_is_fix(change) for change in own)
        if fixes >= 5 and fixes / len(own) > 1.1 * usual:
            level = "high" if fixes / len(own) > 1.25 * usual else "medium"
            found.append(_risk("needed many fixes", path, level, fixes=fixes, changes=len(own), usual=round(usual, 3)))
        author, count = Counter(change.author for change in own).most_common(1)[0]
        if len(own) >= 5 and count / len(own) >= 0.6:
            found.append(_risk("one person knows it", path, "medium", author=author, changes=count, of=len(own)))
        if last_year - int(own[-1].date[:4]) >= OLD_YEARS:
            found.append(_risk("nobody touched it for long", path, "medium", last=own[-1].date))
    code_changes = [change for change, _ in evidence.similar if any(path.endswith(CODE) for path in change.files)]
    tested = sum(_touches(change, "tests") for change in code_changes)
    if code_changes and 3 * tested < len(code_changes):
        found.append(_risk("similar changes came without tests", "tests", "medium", tested=tested, of=len(code_changes)))
    return found


def quantile(weighted: list[tuple[int, float]], share: float) -> int:
    """The value that `share` of the weight is at most; 0 of nothing."""
    left = share * sum(weight for _, weight in weighted)
    for value, weight in sorted(weighted):
        left -= weight
        if left <= 1e-9:
            return value
    return 0


def points_of(size: int, sizes: list[int]) -> int:
    place = sum(other <= size for other in sizes) / len(sizes)
    return next(points for most, points in POINTS if place <= most)


def _size(change: Change) -> int:
    """Files and named functions; a translation is none."""
    return sum(1 + len(names) for path, names in change.files.items() if part_of(path) != "translations")


def _touches(change: Change, part: str) -> bool:
    return any(part_of(path) == part for path in change.files)


def _is_fix(change: Change) -> bool:
    return bool(FIX.search(change.text))


def _most_common(counts: Counter[str], most: int) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))[:most]


def _risk(what: str, where: str, level: str, **evidence: Any) -> dict[str, Any]:
    return {"risk": what, "where": where, "level": level, "evidence": evidence}
