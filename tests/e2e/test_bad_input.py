"""Bad input over HTTP: each a clear error, and the server serves on."""

import json
import unittest

from e2e.program import Served, wait_for


class BadInput(Served):
    def tearDown(self):
        """Nothing was lost: the server serves, and what it kept is there."""
        before = self.server.get(f"/sessions/{self.kept}/state").data["n"]
        after = self.server.output("counter", "increment", {"key": "n"}, session=self.kept)
        self.assertEqual(after, {"key": "n", "previous": before, "current": before + 1})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kept = cls.server.new_session("counter", session_timeout=3600)
        cls.server.output("counter", "increment", {"key": "n"}, session=cls.kept)

    def run_body(self, body):
        return self.server.ask("POST", "/apps/run", body)

    # What there is not.

    def test_unknown_app(self):
        self.refused(self.server.ask_run("no-such-app"), 404, "app_not_found", "no-such-app")
        self.refused(self.server.post("/sessions", {"app": "no-such-app"}), 404, "app_not_found", "no-such-app")
        self.refused(self.server.get("/apps/no-such-app"), 404, "app_not_found", "no-such-app")

    def test_missing_app(self):
        self.refused(self.run_body({"session": "new"}), 400, "invalid_request", "'app' is missing")

    def test_unknown_function(self):
        answer = self.server.ask_run("counter", "decrement")
        self.refused(answer, 404, "function_not_found", "'decrement'", "'counter'", "increment")

    def test_unknown_session(self):
        id = "sess_20200101_000000_abcdef"
        words = f"session not found: {id}"
        self.refused(self.server.ask_run("counter", session=id), 404, "SESSION_NOT_FOUND", words)
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/keepalive"), ("GET", "/state"),
                             ("GET", "/events")):
            with self.subTest(method=method, path=path):
                answer = self.server.ask(method, f"/sessions/{id}{path}")
                self.refused(answer, 404, "SESSION_NOT_FOUND", words)

    def test_unknown_task(self):
        for id in ("task_0123456789abcdef0123456789", "nonsense", "sess_20200101_000000_abcdef"):
            for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/stream"), ("GET", "/logs"),
                                 ("POST", "/cancel")):
                with self.subTest(id=id, method=method, path=path):
                    answer = self.server.ask(method, f"/tasks/{id}{path}")
                    self.refused(answer, 404, "task_not_found", f"task not found: {id}")

    def test_unknown_path(self):
        self.refused(self.server.get("/nonsense"), 404, "not_found", "/nonsense")

    def test_method_that_a_path_does_not_take(self):
        answer = self.server.ask("PATCH", "/sessions")
        self.refused(answer, 405, "method_not_allowed", "/sessions", "GET", "POST")
        self.assertEqual({word.strip() for word in answer.headers["Allow"].split(",")}, {"GET", "POST"})

    # Sessions that are over, or another app's.

    def test_ended_session(self):
        id = self.server.new_session("counter")
        self.server.delete(f"/sessions/{id}")
        for answer in (self.server.ask_run("counter", session=id), self.server.post(f"/sessions/{id}/keepalive"),
                       self.server.delete(f"/sessions/{id}"),
                       self.server.ask("PUT", f"/sessions/{id}/state/a", b"1")):
            self.refused(answer, 410, "SESSION_ENDED", f"session ended: {id}")
        self.assertEqual(self.server.session(id)["status"], "ended")

    def test_expired_session(self):
        # By its lifetime, which a keepalive does not move; test_sessions.py has the idle time-out.
        id = self.server.new_session("counter", lifetime=1)
        wait_for(lambda: self.server.session(id)["status"] == "expired", "the end of its lifetime")
        for answer in (self.server.ask_run("counter", session=id), self.server.post(f"/sessions/{id}/keepalive"),
                       self.server.delete(f"/sessions/{id}")):
            self.refused(answer, 410, "SESSION_EXPIRED", f"session expired: {id} (session not found)")

    def test_app_differs_from_the_sessions(self):
        answer = self.server.ask_run("session-test", session=self.kept)
        self.refused(answer, 400, "APP_MISMATCH", self.kept, "'counter'", "'session-test'")

    # Values out of bounds.

    def refuses_timeout(self, value):
        for answer in (self.server.ask_run("counter", session_timeout=value),
                       self.server.post("/sessions", {"app": "counter", "session_timeout": value})):
            error = self.refused(answer, 400, "invalid_request", "session_timeout", "1 to 3600", json.dumps(value))
            self.assertEqual(error["details"]["field"], "session_timeout")

    def test_session_timeout_0(self):
        self.refuses_timeout(0)

    def test_session_timeout_3601(self):
        self.refuses_timeout(3601)

    def test_session_timeout_abc(self):
        self.refuses_timeout("abc")

    def test_session_timeout_1_5(self):
        self.refuses_timeout(1.5)

    def test_session_timeout_negative_huge_and_of_other_types(self):
        for value in (-1, 1 << 63, 1e300, True, [60], {"s": 60}, "60"):
            with self.subTest(value=value):
                answer = self.server.ask_run("counter", session_timeout=value)
                self.refused(answer, 400, "invalid_request", "session_timeout")

    def test_session_timeout_bounds_are_taken(self):
        for value in (1, 3600):
            self.assertEqual(self.server.post("/sessions", {"session_timeout": value}).data["idle_timeout"], value)

    def test_fields_of_the_wrong_type(self):
        for field, value in (("app", 1), ("function", []), ("session", 7), ("wait", "yes"), ("context", []),
                             ("labels", "x"), ("metadata", 1), ("user_id", {}), ("call_timeout", 0)):
            with self.subTest(field=field):
                body = {"app": "counter", "session": "new", "input": {"key": "a"}, field: value}
                error = self.refused(self.run_body(body), 400, "invalid_request", f"'{field}'")
                self.assertEqual(error["details"]["field"], field)

    def test_label_that_is_no_text(self):
        self.refused(self.server.post("/sessions", {"labels": {"a": 1}}), 400, "invalid_request", "label 'a'")

    def test_warm_session_without_an_app(self):
        self.refused(self.server.post("/sessions", {"app": "counter", "warm": 1}), 400, "invalid_request", "'warm'")
        self.refused(self.server.post("/sessions", {"warm": True}), 400, "invalid_request", "'warm' needs an 'app'")

    def test_bad_list_parameters(self):
        for query, word in (("limit=0", "'limit'"), ("limit=x", "'limit'"), ("limit=1001", "'limit'"),
                            ("status=asleep", "'status'"), ("cursor=nonsense", "cursor")):
            with self.subTest(query=query):
                self.refused(self.server.get(f"/sessions?{query}"), 400, "invalid_request", word)

    # Bodies.

    def test_body_not_json(self):
        for body in (b"", b"{", b"app=counter", b'{"app": "counter",}', b'{"app": "counter"} {}', b"\xef\xbb\xbf{}"):
            with self.subTest(body=body):
                self.refused(self.run_body(body), 400, "invalid_json")

    def test_body_not_an_object(self):
        for body in (b"[]", b"null", b'"counter"', b"7", b"true"):
            with self.subTest(body=body):
                self.refused(self.run_body(body), 400, "invalid_json", "object")

    def test_body_with_nan(self):
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
            with self.subTest(number=number):
                error = self.refused(self.run_body(b'{"app": "counter", "input": {"x": [1, %s]}}' % number), 400,
                                     "invalid_json")
                self.assertTrue(error["details"], error)

    def test_body_with_broken_utf8(self):
        for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\\ud800"):
            with self.subTest(text=text):
                self.refused(self.run_body(b'{"app": "counter", "input": {"key": "%s"}}' % text), 400, "invalid_json")

    def test_body_with_duplicate_keys(self):
        error = self.refused(self.run_body(b'{"app": "counter", "input": {"key": "a", "key": "b"}}'), 400,
                             "invalid_json", "key")
        self.assertEqual(error["details"]["pointer"], "/input/key")

    def test_body_too_deep(self):
        body = b'{"app": "counter", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        self.refused(self.run_body(body), 400, "invalid_json", "64")

    def test_body_too_large(self):
        # Refused by the head alone: the answer comes though the body never does.
        answer = self.server.raw(b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                 b"Content-Length: 99999999999\r\n\r\n")
        self.refused(answer, 413, "too_large")

    def test_head_too_large(self):
        answer = self.server.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n")
        self.refused(answer, 431, "header_too_large")

    def test_request_that_is_no_http(self):
        answer = self.server.raw(b"nonsense\r\n\r\n")
        self.refused(answer, 400, "invalid_request")

    def test_state_value_that_is_no_json(self):
        self.refused(self.server.ask("PUT", f"/sessions/{self.kept}/state/a", b"nonsense"), 400, "invalid_json")

    def test_state_key_that_is_too_long(self):
        answer = self.server.ask("PUT", f"/sessions/{self.kept}/state/{'k' * 257}", b"1")
        self.assertIn(answer.status, (400, 413))
        self.assertIn("256", answer.body["detail"])

    def test_page_of_another_site(self):
        answer = self.server.ask("POST", "/apps/run", {"app": "counter", "input": {"key": "n"}, "session": self.kept},
                                 {"Origin": "http://evil.example"})
        self.refused(answer, 403, "forbidden", "http://evil.example")

    # Ids as nobody means them.

    def refuses_path(self, path):
        answer = self.server.raw(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn((answer.status, answer.body["code"]),
                      {(400, "invalid_request"), (404, "not_found"), (404, "SESSION_NOT_FOUND"),
                       (404, "task_not_found"), (404, "app_not_found")})
        self.assertEqual(answer.body["success"], False)

    def test_ids_with_dots_and_slashes(self):
        for id in (b"../../etc/passwd", b"..", b"%2e%2e", b"%2e%2e%2fsojourn.db", b"..%2f..%2fetc%2fpasswd",
                   b"sess_20200101_000000_abcdef%2f..%2f..", b"%252e%252e%252f", b"..\\..", b"."):
            for kind in (b"sessions", b"tasks", b"apps"):
                with self.subTest(id=id, kind=kind):
                    self.refuses_path(b"/" + kind + b"/" + id)

    def test_ids_with_nul_and_control_characters(self):
        for id in (b"a%00b", b"%00", b"sess_20200101_000000_abcdef%00", b"%0d%0aX: y", b"%ff%fe",
                   b"%7f", b"%zz", b"%"):
            for kind in (b"sessions", b"tasks", b"apps"):
                with self.subTest(id=id, kind=kind):
                    self.refuses_path(b"/" + kind + b"/" + id)

    def test_ids_in_bodies(self):
        for id in ("../../etc/passwd", "a\0b", "sess_20200101_000000_abcdef\0", "x" * 100_000, "NEW",
                   " new", "\ud83d\ude00"):
            with self.subTest(id=id[:40]):
                answer = self.server.ask_run("counter", session=id)
                self.refused(answer, 404, "SESSION_NOT_FOUND", "session not found")
        for app in ("../counter", "counter\0", "/counter", "counter/", "counter/../counter"):
            with self.subTest(app=app):
                self.refused(self.server.ask_run(app), 404, "app_not_found")
        for function in ("../increment", "increment\0", "_key", "setup", "__init__"):
            with self.subTest(function=function):
                self.refused(self.server.ask_run("counter", function), 404, "function_not_found")

    def test_nothing_was_written_outside_the_data_folder(self):
        self.server.get("/sessions/..%2f..%2fescaped")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("fifo-")),
                         ["apps", "data"])


if __name__ == "__main__":
    unittest.main()
