"""Reads a history in GNU's ChangeLog format: who changed which files and functions when, and in what words."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HEAD = re.compile(r"(\d{4}-\d\d-\d\d)  (\S.*?)\s*(?:[<(].*)?$")
OTHER_AUTHOR = re.compile(r"\t {4}\S.*<.*>$")
ITEM = re.compile(r"\* ([^:(]+)(.*)")
PATH = re.compile(r"[A-Za-z.][\w.+-]*(?:/[\w.+-]*\w)*")
FUNCTION = re.compile(r"\(([A-Za-z_]\w*(?:, *[A-Za-z_]\w*)*)\)")
TRAILERS = ("Fixes ", "Reported ", "Originally reported", "See ", "Signed-off-by", "Copyright-paperwork", "Discussed ")
# Files that are known by their name, without a folder or an ending.
PLAIN_NAMES = {"AUTHORS", "COPYING", "ChangeLog", "INSTALL", "Makefile", "NEWS", "README", "THANKS", "TODO"}


@dataclass
class Change:
    """One change: what a commit says and touched."""

    number: int  # from 1, the oldest first
    date: str
    author: str
    text: str = ""
    files: dict[str, set[str]] = field(default_factory=dict)  # path -> functions that are named

    @property
    def summary(self) -> str:
        """Its first line, cut to 100 characters."""
        return self.text.split("\n", 1)[0].removeprefix("* ")[:100]


class History:
    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes
        self.by_number = {change.number: change for change in changes}


def read_history(path: Path) -> History:
    """All changes of a ChangeLog, which may be compressed. Errors: ValueError where there are none."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    found: list[Change] = []
    date = author = ""
    body: list[str] = []
    for line in [*text.splitlines(), "9999-99-99  the end"]:
        head = HEAD.match(line)
        if head:
            found += _changes_of(date, author, body) if date else []  # what stands before the first is none
            (date, author), body = head.groups(), []
        elif body or not OTHER_AUTHOR.match(line):
            body.append(line.strip())
    if not found:
        raise ValueError(f"{path} holds no change in the format of a ChangeLog")
    found.reverse()  # the newest stand first
    found.sort(key=lambda change: change.date)
    for number, change in enumerate(found, 1):
        change.number = number
    _complete_paths(found)
    return History(found)


def folder_of(path: str) -> str:
    """The part of the project that a file belongs to: its first folder, `.` for none."""
    return path.split("/", 1)[0] if "/" in path else "."


def _changes_of(date: str, author: str, lines: list[str]) -> list[Change]:
    """Those under one head. A paragraph of prose after files begins another one, if files follow it as well."""
    paragraphs = [part.strip("\n") for part in re.split(r"\n{2,}", "\n".join(lines)) if part.strip()]
    groups: list[list[str]] = []
    for index, paragraph in enumerate(paragraphs):
        begins = (
            groups
            and not paragraph.startswith(("* ", "(", *TRAILERS))
            and any(_has_item(part) for part in groups[-1])
            and any(_has_item(part) for part in paragraphs[index:])
        )
        if not groups or begins:
            groups.append([])
        groups[-1].append(paragraph)
    changes = []
    for group in groups:
        change = Change(0, date, author, "\n\n".join(group).split("\n-----", 1)[0].strip())
        change.files = _files_of(change.text)
        changes.append(change)
    return changes


def _has_item(paragraph: str) -> bool:
    return any(line.startswith("* ") for line in paragraph.split("\n"))


def _files_of(text: str) -> dict[str, set[str]]:
    """From "* find/pred.c, find/parser.c (parse_size): ..." and "(other_function): ..." in what follows."""
    files: dict[str, set[str]] = {}
    current: list[str] = []
    for line in text.split("\n"):
        item = ITEM.match(line)
        rest = line
        if item:
            paths, rest = item.groups()
            current = [path for path in map(str.strip, re.split(r"[, ]", paths)) if _is_path(path)]
            for path in current:
                files.setdefault(path, set())
        if current and rest.startswith("("):
            for names in FUNCTION.findall(rest.split(":", 1)[0]):
                for path in current:
                    files[path].update(name.strip() for name in names.split(","))
    return files


def _is_path(text: str) -> bool:
    named = text in PLAIN_NAMES or "/" in text or re.search(r"\w\.\w+$", text)
    return bool(named and PATH.fullmatch(text) and not text.endswith("."))


def _complete_paths(changes: list[Change]) -> None:
    """Old changes name files without their folder: those of which there is only one in all folders get it."""
    by_name: dict[str, Counter[str]] = {}
    for change in changes:
        for path in change.files:
            if "/" in path:
                by_name.setdefault(path.rsplit("/", 1)[1], Counter())[path] += 1
    for change in changes:
        for path in [path for path in change.files if "/" not in path]:
            there = by_name.get(path, Counter())
            if len(there) == 1:
                functions = change.files.pop(path)
                change.files.setdefault(next(iter(there)), set()).update(functions)
