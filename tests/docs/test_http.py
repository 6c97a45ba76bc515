"""docs/formats/http.md says what a live server answers: the same paths, the same fields in the same order, the same types."""

import json
import re
import unittest
from datetime import datetime, timedelta, timezone

import pages

PAGE = pages.ROOT / "docs" / "formats" / "http.md"


SLOW_APP = """
import time
from sojourn import App, serve

class Slow(App):
    def run(self, session, input):
        while not session.cancel_requested and input["seconds"] > 0:
            session.emit({"left": input["seconds"]})
            session.emit_delta("tick")
            time.sleep(0.1)
            input["seconds"] -= 0.1
        return "done"

serve(Slow)
"""
SLOW_MANIFEST = """
name = "slow"
command = ["/usr/bin/python3", "{app}/main.py"]
[env]
PYTHONPATH = "%s"
""" % (pages.ROOT / "sdk" / "python")


def shape_of(value):
    """Field names in order, and kinds; nulls fit any kind."""
    if isinstance(value, dict):
        return {name: shape_of(field) for name, field in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return {bool: "bool", int: "number", float: "number", str: "text", type(None): None}[type(value)]


def fits(shown, found, where=""):
    """What of `found` is not as `shown`."""
    if shown is None or found is None:
        return None if (shown is None) == (found is None) else f"{where} is {found}, shown as {shown}"
    if isinstance(shown, dict) and isinstance(found, dict):
        if list(shown) != list(found):
            return f"{where or 'it'} has the fields {list(found)}, shown are {list(shown)}"
        return next((fault for name in shown if (fault := fits(shown[name], found[name], f"{where}.{name}"))), None)
    return None if shown == found else f"{where} is {found}, shown as {shown}"


class Shapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(pages.temporary_folder())
        apps = folder / "apps"
        (apps / "slow").mkdir(parents=True)
        (apps / "slow" / "main.py").write_text(SLOW_APP, encoding="utf-8")
        (apps / "slow" / "app.toml").write_text(SLOW_MANIFEST, encoding="utf-8")
        for app in ("counter", "markdown-notes"):
            (apps / app).symlink_to(pages.ROOT / "apps" / app)
        (apps / "repo-report").symlink_to(pages.BUILD / "apps" / "repo-report")
        secret = {"SOJOURN_WEBHOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
        cls.server = cls.enterClassContext(pages.Server(folder, apps=apps, environment=secret))
        cls.shown = {mark.removeprefix("shape="): json.loads(text) for _, marks, text, _ in pages.blocks(PAGE)
                     for mark in marks if mark.startswith("shape=")}
        cls.checked = set()

    def run_counter(self, **fields):
        return self.server.json("POST", "/apps/run", {"app": "counter", "session": "new", "wait": True,
                                                      "input": {"key": "a"}, **fields})

    def check(self, name, answer):
        self.checked.add(name)
        self.assertIsNone(fits(shape_of(self.shown[name]), shape_of(answer)), name)

    def test_each_shape_is_what_the_server_answers(self):
        server = self.server
        task = self.run_counter()
        self.check("task", task)
        self.check("task", server.json("GET", f"/tasks/{task['id']}"))
        tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
        self.check("scheduled_task", self.run_counter(wait=False, run_at=tomorrow))
        told = self.run_counter(webhook="http://127.0.0.1:1/")
        while "webhook_error" not in told:  # the first attempt fails at once
            told = server.json("GET", f"/tasks/{told['id']}")
        self.check("webhook_task", told)
        self.check("task_status", server.json("GET", f"/tasks/{task['id']}/status"))
        self.check("failed_task", self.run_counter(input=7))
        self.check("app", server.json("GET", "/apps/counter"))
        self.check("key", server.json("GET", "/audit/key"))
        self.check("artifact", server.json("PUT", f"/sessions/{task['session_id']}/artifacts/a/b", b"content"))
        self.check("event", server.json("GET", f"/sessions/{task['session_id']}/events?limit=1")[0])

        self.check("upload", server.json("POST", "/files", {"files": [{"filename": "a", "size": 1}]})[0])

        session = server.json("POST", "/sessions", {"app": "counter", "user_id": "ann", "session_timeout": 120,
                                                    "lifetime": 3600, "context": {"team": "red"},
                                                    "labels": {"env": "test"}, "metadata": {"n": 1}})
        self.run_counter(session=session["id"])
        self.check("session", server.json("GET", f"/sessions/{session['id']}"))
        self.check("session", server.json("POST", f"/sessions/{session['id']}/keepalive"))

        assessed = server.json("POST", "/sessions", {"lifecycle": "impact-assessment"})
        self.check("stage", server.json("PUT", f"/sessions/{assessed['id']}/stage", {"stage": "requirement_submitted"}))

        steps = f"/sessions/{assessed['id']}/steps"
        server.json("POST", f"{steps}/search/start")
        self.check("attempt", server.json("POST", f"{steps}/search/finish"))
        self.check("steps", server.json("GET", steps))

        flow = server.json("POST", "/apps/run", {"app": "repo-report", "session": "new", "wait": True,
                                                 "input": str(pages.ROOT / "apps" / "repo-report")})
        self.check("run", server.json("GET", f"/sessions/{flow['session_id']}/flow")[0])

        self.check_assessment()

        said = server.json("POST", "/apps/run", {"app": "markdown-notes:load", "wait": True,
                                                 "input": {"notes": [{"title": "a", "text": "b"}]}})
        self.check("log_line", next(line for line in server.json("GET", f"/tasks/{said['id']}/logs")
                                    if line["stream"] == "app"))

        server.ask("DELETE", f"/sessions/{task['session_id']}")
        self.check("ended_session", server.json("GET", f"/sessions/{task['session_id']}"))
        self.check("error", self.run_counter(session=task["session_id"]))
        self.assertEqual(self.checked, set(self.shown), "a shape on the page is not checked here")

    def check_assessment(self):
        server = self.server
        created = json.loads(server.ask("POST", "/session/create", {"user_id": "developer@example.com"})[2])
        session = created["session_id"]
        server.json("PUT", f"/sessions/{session}/stage", {"stage": "requirement_submitted"})
        server.json("POST", f"/sessions/{session}/steps/search/report", {"duration_ms": 1250})
        server.ask("PUT", f"/sessions/{session}/state/requirement_text", "Add a second currency")
        self.check("assessment", json.loads(server.ask("GET", f"/session/{session}")[2]))
        self.check("assessment_list", json.loads(server.ask("GET", "/session/list")[2]))
        self.check("assessment_audit", json.loads(server.ask("GET", f"/session/{session}/audit")[2]))
        status, _, text = server.ask("GET", "/session/sess_20261121_110024_000000")
        self.assertEqual(status, 404)
        self.check("assessment_error", json.loads(text))

    def test_the_paths_are_those_of_the_server(self):
        shown = [cells[0].strip("`") for cells in pages.table_rows(PAGE, "path")]
        self.assertEqual(shown, self.server.json("GET", "/")["paths"])

    def test_each_path_answers_with_the_status_shown(self):
        session = self.run_counter()["session_id"]
        task = self.run_counter(session=session)["id"]
        file = self.server.json("POST", "/files", {"files": [{"filename": "a"}]})[0]
        bodies = {"POST /apps/run": {"app": "counter"}, "POST /run": {"app": "counter"}, "POST /sessions": {},
                  "PUT /sessions/{id}/state/{key}": 7, "PUT /sessions/{id}/stage": {"stage": "reviewed"},
                  "POST /sessions/{id}/steps/{step}/report": {"duration_ms": 7}, "POST /files": {"files": [{}]}, "PUT /sessions/{id}/artifacts/{path}": b"bytes",
                  "PUT /files/{id}": b"bytes"}
        rows = [cells for cells in pages.table_rows(PAGE, "path") if "{namespace}" not in cells[0]]
        # Late, since it ends what the others use; a journal can be followed to its end then.
        late = ["`DELETE /sessions/{id}`", "`GET /sessions/{id}/events/stream`"]
        rows.sort(key=lambda cells: late.index(cells[0]) if cells[0] in late else -1)
        for cells in rows:
            method, path = cells[0].strip("`").split()
            if path.endswith("/state/{key}") and method == "GET":
                self.server.ask("PUT", f"/sessions/{session}/state/k", 1)
            if path.endswith("/finish") or path.endswith("/fail"):
                self.server.ask("POST", f"/sessions/{session}/steps/search/start")
            url = path.replace("{key}", "k").replace("{step}", "search").replace("{path}", "a/b").replace("{name}", "counter")
            url = url.replace("{id}", task if path.startswith("/tasks") else session)
            if path == "/files/{id}":
                url = (file["upload_url"] if method == "PUT" else file["uri"]).removeprefix(self.server.url)
            status, _, _ = self.server.ask(method, url, bodies.get(f"{method} {path}"))
            with self.subTest(path=cells[0]):
                self.assertEqual(str(status), cells[2][:3])
                with_prefix, _, _ = self.server.ask("GET", f"/v1{url}".rstrip("/")) if method == "GET" else (status, 0, 0)
                self.assertEqual(with_prefix, status)

    def test_the_envelope_is_there_unless_version_2_is_asked_for(self):
        for version, fields in (("1", ["success", "status", "data", "messages"]), ("2", None)):
            status, _, text = self.server.ask("GET", "/apps/counter", X_API_Version=version)
            answer = json.loads(text)
            self.assertEqual(status, 200)
            self.assertEqual(list(answer) if fields else answer["id"], fields or "counter")

    def test_a_key_answers_with_the_first_task_and_refuses_another_input(self):
        session = self.run_counter()["session_id"]
        body = {"session": session, "input": {"key": "a"}, "wait": True}
        first = self.server.json("POST", "/apps/run", body, Idempotency_Key="k")
        self.assertEqual(self.server.json("POST", "/apps/run", body, Idempotency_Key="k"), first)
        status, _, text = self.server.ask("POST", "/apps/run", {**body, "input": {"key": "b"}}, Idempotency_Key="k")
        self.assertEqual((status, json.loads(text)["code"]), (422, "idempotency_mismatch"))

    def test_streams_end_with_the_final_task(self):
        task = self.run_counter()
        _, headers, text = self.server.ask("GET", f"/tasks/{task['id']}/stream")
        self.assertEqual((headers["Content-Type"], json.loads(text)), ("application/x-ndjson", task))
        _, headers, text = self.server.ask("GET", f"/tasks/{task['id']}/stream", Accept="text/event-stream")
        self.assertEqual(headers["Content-Type"], "text/event-stream")
        self.assertEqual(text, f"data: {json.dumps(task, separators=(',', ':'))}\n\n")

    def test_streams_tell_of_partial_outputs_and_deltas(self):
        task = self.server.json("POST", "/apps/run", {"app": "slow", "session": "new", "input": {"seconds": 0.5}})
        _, _, text = self.server.ask("GET", f"/tasks/{task['id']}/stream")
        first, *between, last = map(json.loads, text.splitlines())
        self.assertEqual((list(first), list(last)), (list(self.shown["task"]),) * 2)
        self.assertEqual((last["status_text"], last["output"]), ("completed", "done"))
        deltas = [line["data"] for line in between if line.get("event") == "delta"]
        self.assertTrue(deltas)
        self.assertEqual({tuple(data) for data in deltas}, {("delta", "seq")})
        outputs = [line for line in between if line.get("fields") == ["status", "output"]]
        self.assertTrue(outputs)
        self.assertEqual(list(outputs[0]["data"]),
                         ["id", "session_id", "status", "status_text", "output", "updated_at"])

    def test_a_call_that_runs_when_the_lifetime_is_over_is_finished_first(self):
        session = self.server.json("POST", "/sessions", {"app": "slow", "lifetime": 1})["id"]
        task = self.server.json("POST", "/apps/run", {"session": session, "input": {"seconds": 1.5}, "wait": True})
        self.assertEqual((task["status_text"], task["output"]), ("completed", "done"))
        self.assertEqual(self.server.ask("POST", f"/sessions/{session}/keepalive")[0], 410)

    def test_refusals_say_what_the_page_says(self):
        status, headers, _ = self.server.ask("PUT", "/apps", {})
        self.assertEqual((status, headers["Allow"]), (405, "GET"))
        self.assertEqual(self.server.ask("GET", "/apps", Origin="http://elsewhere.example")[0], 403)
        self.assertEqual(self.server.ask("GET", "/sessions/sess_20260115_103045_a1b2c3")[0], 404)
        for timeout in (0, 3601, "abc", 1.5):
            answer = self.run_counter(session_timeout=timeout)
            self.assertEqual((answer["code"], answer["error"]["details"]), ("invalid_request", {"field": "session_timeout"}))

    def test_a_part_that_is_too_large_is_named(self):
        for field in ("context", "labels", "metadata"):
            status, _, text = self.server.ask("POST", "/sessions", {field: {"a": "x" * 300_000}})
            self.assertEqual((status, json.loads(text)["error"]["details"]["field"]), (413, field))

    def test_events_are_of_the_types_and_fields_of_the_journal_page(self):
        shown = {}
        for types, data, _ in pages.table_rows(pages.ROOT / "docs" / "formats" / "journal.md", "type"):
            for kind in re.findall(r"`([a-z._]+)`", types):
                shown[kind] = set(re.findall(r"`(\w+)`", data))
        session = self.run_counter()["session_id"]
        self.run_counter(session=session, input=7)
        self.server.ask("POST", f"/sessions/{session}/keepalive")
        self.server.ask("PUT", f"/sessions/{session}/state/b", 1)
        self.server.ask("POST", "/apps/run", {"session": session, "input": {"key": "a"}, "wait": True},
                        Idempotency_Key="journal")
        self.server.ask("DELETE", f"/sessions/{session}")
        events = [entry["event"] for entry in self.server.json("GET", f"/sessions/{session}/events")]
        self.assertEqual({event["type"] for event in events},
                         {"session.created", "worker.started", "call.completed", "call.failed", "session.keepalive",
                          "state.changed", "call.accepted", "worker.closed", "session.ended"})
        for event in events:
            self.assertLessEqual(set(event["data"]), shown[event["type"]], event["type"])

    def test_lists_come_in_pages(self):
        for _ in range(3):
            self.server.json("POST", "/sessions", {"labels": {"set": "pages"}})
        seen, path = [], "/sessions?limit=2&label.set=pages"
        while path:
            _, headers, text = self.server.ask("GET", path)
            seen += [session["id"] for session in json.loads(text)]
            path = headers["Link"] and headers["Link"].split(">")[0].removeprefix("<")
        self.assertEqual(len(set(seen)), 3)
        self.assertEqual(len(seen), 3)


if __name__ == "__main__":
    unittest.main()
