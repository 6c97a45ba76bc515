"""Assesses what a requirement would change in a project, from its history, and leaves the whole trail in a session.

    assess.py "find should ..."        a new session
    assess.py --session SESSION        goes on with one that was interrupted

The server is SOJOURN_URL, else http://127.0.0.1:8080. See README.md for what is recorded and how it is computed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent
sys.path[:0] = [str(APP), str(APP.parent.parent / "sdk" / "python")]

import impact  # noqa: E402
from changes import History, read_history  # noqa: E402
from search import Index, Match, select, words_of  # noqa: E402

from sojourn.client import Client, Error, Session  # noqa: E402

HISTORY = APP / "history" / "findutils-changelog.gz"
LIFECYCLE = "impact-assessment"
STAGES = ("created", "requirement_submitted", "matches_found", "matches_selected", "generating_impact", "completed")
LEAST_WORDS = 4  # that mean something


class RequirementTooShortError(ValueError):
    """There is too little to search with."""


class Assessment:
    """One requirement's way through the seven steps; each step's result is an artefact, and is read back from there."""

    def __init__(self, session: Session, history: Path = HISTORY) -> None:
        self.session = session
        self.history_path = history
        self.results: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """All steps that are not completed yet, and the session's end. Returns the summary.

        Errors: those of the steps, after which the session's last stage is `error`; ValueError where it is over already.
        """
        if self.session.stage()["final"]:
            raise ValueError(f"{self.session.id} is over; what it was about can be assessed in a new session")
        steps = self.session.steps()
        for attempt in steps["attempts"]:  # of a run that was interrupted
            if attempt["status"] == "running":
                interrupted = {"type": "Interrupted", "message": "its pipeline did not come to its end"}
                self.session.fail_step(attempt["step"], interrupted, attempt=attempt["attempt"])
        try:
            for step, folder, does in self._steps():
                if step in steps["steps_completed"]:
                    continue
                with self._recorded(step, folder) as data:
                    does(data)
            self._reach("completed")
        except Error:
            raise  # of the server: there is nobody to tell it to
        except Exception as error:
            self.session.move_stage("error", f"{type(error).__name__}: {error}"[:4096])
            self.session.end()
            raise
        self.session.end()  # which signs its journal
        return self._load("final_summary.json")

    def submit(self, requirement: str, epic: str | None = None) -> None:
        """Leaves the requirement where the first step finds it."""
        self._save("step1_input/requirement.json", {"requirement_description": requirement, "jira_epic_id": epic})

    def _steps(self) -> Iterator[tuple[str, str, Callable[[dict[str, Any]], None]]]:
        yield "requirement_submitted", "step1_input", self._read_requirement
        yield "matches_selected", "step2_search", self._search
        for name, step in (
            ("modules", "modules_generated"),
            ("effort", "effort_estimated"),
            ("stories", "stories_generated"),
            ("code", "code_impact_analyzed"),
            ("risks", "risks_identified"),
        ):
            folder = f"step3_agents/agent_{name}"
            yield step, folder, lambda data, name=name, folder=folder: self._generate(name, folder, data)

    # The steps.

    def _read_requirement(self, data: dict[str, Any]) -> None:
        words = list(dict.fromkeys(words_of(self._requirement)))
        if len(words) < LEAST_WORDS:
            raise RequirementTooShortError(f"it has {len(words)} words to search with; {LEAST_WORDS} are needed")
        keywords = self.index.keywords(self._requirement)
        self._save("step1_input/extracted_keywords.json", {"keywords": keywords})
        data["keywords"] = len(keywords)
        self._reach("requirement_submitted")

    def _search(self, data: dict[str, Any]) -> None:
        request = {"text": self._requirement, "history": self.history_path.name, "changes": len(self.history.changes)}
        self._save("step2_search/search_request.json", request)
        matches = self.index.find(self._requirement)
        self._save("step2_search/all_matches.json", [self._told(match) for match in matches])
        self._reach("matches_found", f"{len(matches)} changes are like it")
        selected = select(matches)
        self._save("step2_search/selected_matches.json", {"selected_ids": [match.number for match in selected]})
        data.update(found=len(matches), selected=len(selected), best=matches[0].score)
        self._reach("matches_selected")

    def _generate(self, name: str, folder: str, data: dict[str, Any]) -> None:
        self._reach("generating_impact")
        evidence = impact.Evidence(self.history, self._selected())
        made: Any
        if name == "modules":
            made = impact.modules(evidence)
        elif name == "effort":
            made = impact.effort(evidence, self._made("modules"))
            self.session.set_state("total_story_points", made["story_points"])
        elif name == "stories":
            made = impact.stories(self._requirement, evidence, self._made("modules"))
        elif name == "code":
            made = impact.code_impact(evidence)
        else:
            made = impact.risks(evidence, self._made("code"))
            self._save("final_summary.json", self._summary(made))
        self._save(f"{folder}/parsed_output.json", made)
        data["entries"] = len(made)

    def _summary(self, risks: list[dict[str, Any]]) -> dict[str, Any]:
        told = {"session_id": self.session.id, "status": "completed", "requirement": self._requirement}
        told["matches"] = self._load("step2_search/all_matches.json")[:10]
        for name, key in (("modules", "modules"), ("effort", "effort"), ("stories", "stories"), ("code", "code_impact")):
            told[key] = self._made(name)
        return {**told, "risks": risks}

    # What they share.

    @cached_property
    def history(self) -> History:
        return read_history(self.history_path)

    @cached_property
    def index(self) -> Index:
        return Index(self.history)

    @property
    def _requirement(self) -> str:
        return str(self._load("step1_input/requirement.json")["requirement_description"])

    def _selected(self) -> list[Match]:
        chosen = self._load("step2_search/selected_matches.json")["selected_ids"]
        found = {one["number"]: one for one in self._load("step2_search/all_matches.json")}
        names = ("number", "score", "similarity", "keywords", "shared")
        return [Match(*(found[number][name] for name in names)) for number in chosen]

    def _told(self, match: Match) -> dict[str, Any]:
        change = self.history.by_number[match.number]
        return {**asdict(match), "date": change.date, "author": change.author, "summary": change.summary}

    def _made(self, name: str) -> Any:
        return self._load(f"step3_agents/agent_{name}/parsed_output.json")

    # The trail.

    @contextmanager
    def _recorded(self, step: str, folder: str) -> Iterator[dict[str, Any]]:
        """An attempt at a step, with the reason beside its other artefacts where it fails."""
        with self.session.step(step) as data:
            try:
                yield data
            except Exception as error:
                text = f"{type(error).__name__}: {error}\n"
                self.session.put_artifact(f"{folder}/error.txt", text.encode(), "text/plain; charset=utf-8")
                raise

    def _reach(self, stage: str, reason: str = "") -> None:
        """Moves on to a stage, unless the session is there or past it."""
        if STAGES.index(self.session.stage()["stage"]) < STAGES.index(stage):
            self.session.move_stage(stage, reason)

    def _save(self, path: str, value: Any) -> None:
        self.results[path] = value
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        self.session.put_artifact(path, text.encode(), "application/json")

    def _load(self, path: str) -> Any:
        if path not in self.results:
            self.results[path] = json.loads(self.session.get_artifact(path))
        return self.results[path]


def assess(client: Client, requirement: str, epic: str | None, user: str | None, history: Path = HISTORY) -> Assessment:
    """A new session for a requirement; its metadata is what seed 001's list shows of it."""
    metadata = {"requirement_text": requirement, "jira_epic_id": epic}
    labels = {"pipeline": LIFECYCLE}
    session = client.session(lifecycle=LIFECYCLE, user_id=user, metadata=metadata, labels=labels)
    assessment = Assessment(session, history)
    assessment.submit(requirement, epic)
    return assessment


def show(summary: dict[str, Any]) -> None:
    print("\nlike it in the history:")
    for match in summary["matches"][:5]:
        print(f"  {match['score']:.2f}  {match['date']}  {match['summary']}")
    print("\nmodules:")
    for module in summary["modules"]:
        print(f"  {module['share']:4.0%}  {module['module']:<14} {', '.join(module['files'][:3])}")
    effort = summary["effort"]
    size = effort["size"]
    print(f"\neffort: {effort['story_points']} points, {size['low']} to {size['high']} files and functions")
    print("\ncode:")
    for file in summary["code_impact"]["files"][:5]:
        print(f"  {file['share']:4.0%}  {file['path']:<20} {', '.join(file['functions'][:3])}")
    print("\nrisks:")
    for risk in summary["risks"]:
        evidence = ", ".join(f"{name} {value}" for name, value in risk["evidence"].items())
        print(f"  {risk['level']:<6} {risk['where']}: {risk['risk']} ({evidence})")


def main() -> int:
    parser = argparse.ArgumentParser(description="Assess what a requirement would change in GNU findutils.")
    parser.add_argument("requirement", nargs="?", help="what is to be done, in a sentence or more")
    parser.add_argument("--session", help="go on with this session, which was interrupted")
    parser.add_argument("--epic", help="the id of an epic, kept with the requirement")
    parser.add_argument("--user", help="whose assessment it is")
    parser.add_argument("--history", type=Path, default=HISTORY, help="another ChangeLog")
    given = parser.parse_args()
    if (given.requirement is None) == (given.session is None):
        parser.error("give either a requirement or --session")
    try:
        with Client() as client:
            if given.session:
                assessment = Assessment(client.attach(given.session), given.history)
            else:
                assessment = assess(client, given.requirement, given.epic, given.user, given.history)
            print(f"session {assessment.session.id}", flush=True)
            show(assessment.run())
    except (Error, ValueError, OSError) as error:
        print(f"assess: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
