"""Holds what clients were told against what the server wrote down, and that against what it counts."""

import collections
import concurrent.futures
import json

from e2e.program import CANCELLED, COMPLETED, FAILED
from e2e.test_webhooks import SECRET
from sojourn.client import verify_webhook

from soak.rest import Line

OUTCOMES = {"call.completed": COMPLETED, "call.failed": FAILED, "call.cancelled": CANCELLED}
STATUSES = {"session.ended": "ended", "session.expired": "expired", "session.failed": "failed"}
READERS = 2


class Books:
    """All sessions of a server so far."""

    def __init__(self, test, server, load):
        self.test, self.server, self.load = test, server, load
        self.seen = set()
        self.created, self.over, self.calls = collections.Counter(), collections.Counter(), collections.Counter()
        self.starts, self.resources = collections.Counter(), collections.Counter()
        self.copies = 0  # files that were handed out
        self.strangers = 0  # sessions that no client knows
        self.told = set()  # tasks of which a webhook told

    def close(self):
        """Looks at the sessions that came since the last time, which are all over, and forgets their lives."""
        self.take_webhooks()
        new = self.list_new()
        shares = [new[number::READERS] for number in range(READERS)]
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            for journals in pool.map(self.read, shares):
                for session, events, state in journals:
                    self.enter(session, events, state)
        self.test.assertEqual(self.load.lives.keys() - self.seen, set(), "sessions that the server does not list")
        self.load.lives.clear()
        self.test.assertLessEqual(self.strangers, self.load.left, "sessions that nobody opened")

    def take_webhooks(self):
        """Those that came; more than one may tell of a task."""
        while not self.load.receiver.told.empty():
            _, headers, body = self.load.receiver.told.get()
            task = verify_webhook(SECRET, headers, body)
            self.test.assertIn(task["status"], OUTCOMES.values())
            self.told.add(task.id)
        for life in self.load.lives.values():
            self.test.assertEqual(life.hooked - self.told, set(), f"webhooks of {life} that nobody was told")

    def list_new(self):
        """Newest first, until those that are known."""
        line, found, path = Line(self.server), [], "/sessions?limit=1000"
        while path:
            headers, body = line.get(path)
            page = [session for session in json.loads(body)["data"] if session["id"] not in self.seen]
            found += page
            link = headers["Link"] if page else None
            path = link[link.index("<") + 1:link.index(">")] if link else None
        line.close()
        self.seen.update(session["id"] for session in found)
        return found

    def read(self, sessions):
        line, found = Line(self.server), []
        for session in sessions:
            events, page = [], None
            while page is None or len(page) == 1000:
                page = line.data(f"/sessions/{session['id']}/events?limit=1000&from={len(events) + 1}")
                events += [entry["event"] for entry in page]
            found.append((session, events, line.data(f"/sessions/{session['id']}/state")))
        line.close()
        return found

    def enter(self, session, events, state):
        """One session, which is over: what it says of itself, its journal and its client agree."""
        app, about = session.get("app_id", ""), f"session {session['id']}: {session} {events}"
        self.created[app] += 1
        self.over[app, STATUSES[events[-1]["type"]]] += 1
        shown = "ended" if events[-1]["type"] == "session.failed" else STATUSES[events[-1]["type"]]
        self.test.assertEqual(session["status"], shown, about)
        ended = {}
        for event in events:
            if event["type"] in OUTCOMES:
                self.test.assertNotIn(event["data"]["task"], ended, about)
                ended[event["data"]["task"]] = event
                code = event["data"]["code"] if event["type"] == "call.failed" else ""
                self.calls[app, event["type"].removeprefix("call."), code] += 1
            elif event["type"] == "worker.started":
                self.starts[app, event["data"]["start"]] += 1
            elif event["type"] == "resource.added":
                self.resources[event["data"]["kind"]] += 1
            self.copies += event["type"] == "call.completed" and event["data"]["function"] == "copy_file"
        completed = [task for task, event in ended.items() if event["type"] == "call.completed"]
        self.test.assertEqual(state.get("n", 0), len(completed), about)
        life = self.load.lives.get(session["id"])
        if life is None:
            self.strangers += app != ""
            return
        for task, answer in life.answered.items():
            self.test.assertIn(task, ended, f"{task} was answered: {about}")
            if answer is not None:
                self.compare(task, answer, ended[task], completed, about)
        self.test.assertLessEqual(len(ended) - len(life.answered), life.unknown, f"calls that nobody made: {about}")

    def compare(self, task, answer, event, completed, about):
        """The answer's status is the journal's, and its output or error too."""
        status, told = answer
        self.test.assertEqual(status, OUTCOMES[event["type"]], about)
        if status == COMPLETED:
            self.test.assertEqual(told, completed.index(task) + 1, about)
        else:
            self.test.assertEqual(told, event["data"]["code"], about)

    def compare_counters(self, metrics):
        """What /metrics has counted since the server's start is what the journals hold."""
        for counted, name, labels in (
            (self.created, "sojourn_sessions_created_total", ("app",)),
            (self.over, "sojourn_sessions_over_total", ("app", "status")),
            (self.calls, "sojourn_calls_total", ("app", "outcome", "code")),
            (self.starts, "sojourn_worker_start_seconds_count", ("app", "kind")),
            (self.resources, "sojourn_resources_registered_total", ("kind",)),
        ):
            told = {key if len(labels) > 1 else key[0]: int(value)
                    for key, value in metrics.of(name, *labels).items()}
            self.test.assertEqual(told, dict(counted), name)
