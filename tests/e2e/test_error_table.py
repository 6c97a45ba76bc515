"""Each row of the error table that callers of seed 004 know (docs/reference/errors.md), with its status and code."""

import json
import re
import unittest

from e2e.program import FAILED, SOURCE, Served, command, link_apps, wait_for, write_app

PAGE = SOURCE / "docs" / "reference" / "errors.md"

PROGRAM = """
import os
from sojourn import App, serve

class Leaver(App):
    def run(self, input):
        if input.get("leave"):
            os._exit(3)
        return "here"

serve(Leaver)
"""


class ErrorTable(Served):
    @classmethod
    def make_apps(cls, apps):
        link_apps(apps)
        write_app(apps, "leaver", PROGRAM, 'version = "1"\nmax_sessions = 2')
        keys = apps.parent / "keys.toml"
        cls.keys = {}
        for name, scope in (("all", "admin"), ("reader", "apps:read")):
            made = command("keys", "create", name, "--scope", scope, "--file", keys, "--json")
            cls.keys[name] = {"Authorization": "Bearer " + json.loads(made.stdout)["key"]}
        cls.flags = ("--keys", str(keys))

    def ask(self, method, path, body=None, key="all"):
        return self.server.ask(method, path, body, self.keys.get(key))

    def run_app(self, app="counter", session="new", key="all", **fields):
        body = {"app": app, "session": session, "input": {"key": "n"}, "wait": True, **fields}
        return self.ask("POST", "/apps/run", body, key)

    def new_session(self, app="counter", **fields):
        return self.ask("POST", "/sessions", {"app": app, **fields}).data["id"]

    def over(self, session):
        wait_for(lambda: self.ask("GET", f"/sessions/{session}").data["status"] != "active", f"the end of {session}")
        return session

    # One for each row.

    def SESSION_NOT_FOUND(self):
        return self.run_app(session="sess_20200101_000000_abcdef"), 404, "SESSION_NOT_FOUND"

    def SESSION_EXPIRED(self):
        return self.run_app(session=self.over(self.new_session(session_timeout=1))), 410, "SESSION_EXPIRED"

    def SESSION_ENDED(self):
        session = self.new_session()
        self.ask("DELETE", f"/sessions/{session}")
        return self.run_app(session=session), 410, "SESSION_ENDED"

    def APP_MISMATCH(self):
        return self.run_app("leaver", session=self.new_session()), 400, "APP_MISMATCH"

    def VERSION_MISMATCH(self):
        session = self.new_session("leaver")
        manifest = self.folder / "apps" / "leaver" / "app.toml"
        manifest.write_text(manifest.read_text().replace('version = "1"', 'version = "2"'))
        self.server.stop()
        self.server.start()
        return self.run_app("leaver", session=session), 400, "VERSION_MISMATCH"

    def WORKER_LOST(self):
        failed = self.run_app("leaver", input={"leave": True}).data
        self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "WORKER_LOST"))
        return self.run_app("leaver", session=self.over(failed["session_id"])), 500, "WORKER_LOST"

    def unauthorized(self):
        return self.run_app(key="none"), 401, "unauthorized"

    def forbidden(self):
        return self.run_app(key="reader"), 403, "forbidden"

    def not_found(self):
        return self.ask("GET", "/nothing/here"), 404, "not_found"

    def invalid_request(self):
        return self.run_app(session_timeout=9999), 400, "invalid_request"

    def rate_limited(self):
        sessions = [self.new_session("leaver") for _ in range(2)]
        refused = self.run_app("leaver")
        self.assertEqual(refused.headers["Retry-After"], "1")
        for session in sessions:
            self.ask("DELETE", f"/sessions/{session}")
        return refused, 429, "too_many_sessions"

    def test_each_row_has_its_status_and_code(self):
        rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \|$", PAGE.read_text().split("## Codes of sessions APIs")[1],
                          flags=re.MULTILINE)
        self.assertEqual(len(rows), 14)
        for code, status, remark in rows:
            if "never" in remark:
                continue
            with self.subTest(code):
                answer, expected, own = getattr(self, code)()
                self.assertEqual(str(expected), status)
                self.refused(answer, expected, own)
                self.assertEqual(own in remark, own != code)

    def test_client_that_loses_its_stream_comes_back_and_is_told_the_rest(self):
        gate = self.fifo()
        task = self.run_app("tests/probe", function="emit", input={"gate": gate.path}, wait=False).data
        gate.wait_until_read()
        gate.write("one")
        self.follow(task, {"seen": ["one"]})
        gate.write("two")  # while nobody follows
        lines = self.follow(task, {"seen": ["one", "two"]})
        self.assertTrue(all(line["data"]["output"] != {"seen": ["one"]} for line in lines if "data" in line), lines)
        gate.open()
        done = wait_for(lambda: (seen := self.ask("GET", f"/tasks/{task['id']}").data)["status"] == 10 and seen, "the end")
        self.assertEqual(done["output"], {"seen": ["one", "two"], "done": True})

    def follow(self, task, output):
        """The lines of a stream up to that with this output, where its client goes away without a word."""
        connection = self.server.connection()
        connection.request("GET", f"/tasks/{task['id']}/stream", headers=self.keys["all"])
        response = connection.getresponse()
        lines = []
        while not lines or lines[-1].get("data", lines[-1]).get("output") != output:
            lines.append(json.loads(response.readline()))
        response.close()
        connection.close()
        return lines


if __name__ == "__main__":
    unittest.main()
