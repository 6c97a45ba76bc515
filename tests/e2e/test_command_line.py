"""The commands beside a server: what they print for people and for machines, and their exit codes."""

import json
import re
import signal
import socket
import subprocess
import unittest

from e2e.program import BINARY, COMPLETED, FAILED, PATIENCE, RUNNING, Served, clean_environment, command, wait_for


class Commands(Served):
    def people(self, code, *words, **options):
        """What a command prints for people: (standard output, standard error)."""
        done = self.server.command(*words, cwd=self.folder, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("\x1b", done.stdout + done.stderr)  # no colours where no terminal is
        return done.stdout, done.stderr

    def machines(self, code, *words, **options):
        """What a command prints for machines: the JSON of standard output, or of standard error where it failed."""
        out, err = self.people(code, *words, "--json", **options)
        return json.loads(out or err)

    def test_run_prints_the_output_and_where_to_go_on(self):
        out, err = self.people(0, "run", "counter", "--session", "new", "--function", "increment",
                               "--input", '{"key": "a"}')
        self.assertEqual(json.loads(out), {"key": "a", "previous": 0, "current": 1})
        session, task = re.fullmatch(r"session (sess_\S+)  task (task_\S+)\n", err).groups()
        task = self.machines(0, "run", "counter", "--session", session, "--input", '{"key": "a", "amount": 2}')
        self.assertEqual((task["session_id"], task["status"], task["output"]["current"]), (session, COMPLETED, 3))

    def test_run_takes_its_input_from_a_file(self):
        (self.folder / "input.json").write_text('{"key": "file"}')
        out, _ = self.people(0, "run", "counter", "--input", "@input.json")
        self.assertEqual(json.loads(out)["key"], "file")

    def test_run_without_waiting(self):
        out, _ = self.people(0, "run", "counter", "--session", "new", "--no-wait", "--input", '{"key": "a"}')
        self.assertNotIn(out, ("completed\n", "failed\n"))
        task = self.machines(0, "run", "counter", "--session", "new", "--no-wait", "--input", '{"key": "a"}')
        self.assertLess(task["status"], COMPLETED)
        self.assertEqual(self.server.final_task(task["id"])["status"], COMPLETED)

    def test_run_that_is_interrupted_says_which_task_goes_on(self):
        for session in ([], ["--session", "new"]):
            with self.subTest(session=session):
                gate = self.fifo()
                # Whoever runs this test in the background has it ignore the signal.
                waiting = subprocess.Popen(
                    ["env", "--default-signal=INT", BINARY, "run", "tests/probe", *session, "--function", "hold",
                     "--input", json.dumps({"gate": gate.path})], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, text=True, env={**clean_environment(), "SOJOURN_URL": self.server.url})
                gate.wait_until_read()
                waiting.send_signal(signal.SIGINT)
                out, err = waiting.communicate(timeout=PATIENCE)
                self.assertEqual((waiting.returncode, out), (-signal.SIGINT, ""))
                task = re.fullmatch(r"\nsojourn: task (task_\S+) of session sess_\S+ goes on\n(?s:.*)", err)[1]
                self.assertIn(f"Follow it: curl -s {self.server.url}/tasks/{task}/stream\n", err)
                self.assertIn(f"Stop it: curl -s -X POST {self.server.url}/tasks/{task}/cancel\n", err)
                self.assertEqual(self.server.task(task)["status"], RUNNING)
                gate.open()
                self.assertEqual(self.server.final_task(task)["status"], COMPLETED)

    def test_run_of_a_call_that_fails(self):
        out, err = self.people(1, "run", "tests/probe", "--function", "fail", "--input", '"this"')
        self.assertEqual(out, "")
        self.assertIn("ValueError: what went wrong: this", err)
        self.assertIn("Traceback (most recent call last)", err)
        task = self.machines(1, "run", "tests/probe", "--function", "fail", "--input", '"this"')
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "app_error"))

    def test_run_that_the_server_refuses(self):
        for words, code in ((["run", "no-such-app"], "app_not_found"),
                            (["run", "counter", "--function", "nonsense"], "function_not_found"),
                            (["run", "counter", "--session", "sess_20200101_000000_abcdef"], "SESSION_NOT_FOUND")):
            with self.subTest(words=words):
                out, err = self.people(1, *words)
                self.assertEqual((out, err.count("\n")), ("", 2))
                self.assertTrue(err.startswith("sojourn: "), err)
                self.assertEqual(self.machines(1, *words)["error"]["code"], code)

    def test_run_with_bad_words(self):
        for words in (["run"], ["run", "counter", "--input", "{"], ["run", "counter", "--input", "@no-such-file"],
                      ["run", "counter", "--session-timeout", "0"], ["run", "counter", "--session-timeout", "3601"],
                      ["run", "counter", "--session-timeout", "abc"], ["run", "counter", "--session-timeout", "1.5"],
                      ["run", "counter", "--nonsense"], ["nonsense"], [], ["sessions", "show"], ["audit"],
                      ["sessions", "list", "--status", "asleep"]):
            with self.subTest(words=words):
                out, err = self.people(2, *words)
                self.assertEqual(out, "")
                self.assertTrue(err)

    def test_server_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        for words in (["run", "counter"], ["sessions"], ["apps"]):
            out, err = self.people(3, *words, "--url", url)
            self.assertEqual(out, "")
            self.assertIn(f"cannot reach the server: {url}", err)
            self.assertEqual(self.machines(3, *words, "--url", url)["error"]["code"], "connection_failed")

    def test_sessions_from_the_first_call_to_the_end(self):
        session = self.machines(0, "run", "counter", "--session", "new", "--session-timeout", "99",
                                "--input", '{"key": "a"}')["session_id"]
        out, _ = self.people(0, "sessions", "list", "--status", "active")
        head, *rows = out.splitlines()
        self.assertEqual(re.split(r"  +", head), ["SESSION", "APP", "STATUS", "CALLS", "CREATED", "LAST CALL"])
        row = next(row for row in rows if row.startswith(session))
        self.assertEqual(re.split(r"  +", row)[1:4], ["counter", "active", "1"])
        self.assertEqual(row.index("counter"), head.index("APP"))  # aligned
        self.assertIn(session, [s["id"] for s in self.machines(0, "sessions", "--app", "counter")])
        self.assertEqual(len(self.machines(0, "sessions", "--limit", "1")), 1)

        shown, _ = self.people(0, "sessions", "show", session)
        self.assertRegex(shown, rf"(?m)^id +{session}$")
        self.assertRegex(shown, r"(?m)^idle_timeout +99$")
        self.assertEqual(self.machines(0, "sessions", "show", session)["id"], session)

        self.assertRegex(self.people(0, "sessions", "keepalive", session)[0], rf"^kept {session} until \S+Z\n$")
        self.assertEqual(self.machines(0, "sessions", "keepalive", session)["id"], session)

        self.assertEqual(self.people(0, "sessions", "end", session)[0], f"ended {session}\n")
        out, err = self.people(1, "sessions", "end", session)
        self.assertEqual(out, "")
        self.assertIn(f"session ended: {session}", err)
        self.assertEqual(self.machines(1, "sessions", "keepalive", session)["error"]["code"], "SESSION_ENDED")
        other = self.server.new_session("counter")
        self.assertEqual(self.machines(0, "sessions", "end", other), {"id": other, "status": "ended"})
        self.assertEqual(self.machines(1, "sessions", "show", "../x")["error"]["code"], "invalid_request")

    def test_apps(self):
        out, _ = self.people(0, "apps")
        head, *rows = out.splitlines()
        self.assertEqual(re.split(r"  +", head), ["APP", "VERSION", "FUNCTIONS", "DESCRIPTION"])
        self.assertTrue(any(re.split(r"  +", row)[:3] == ["counter", "1.0.0", "increment"] for row in rows), out)
        self.assertIn("counter", [app["name"] for app in self.machines(0, "apps")])

    def test_config_tells_each_value_and_its_source(self):
        (self.folder / "settings.toml").write_text('drain_grace = 3\nlog_level = "debug"\n')
        words = ["config", "--config", self.folder / "settings.toml", "--log-level", "error"]
        environment = {"SOJOURN_LISTEN": "127.0.0.1:1", "SOJOURN_API_KEY": "sjn_nobody_sees_me",
                       "SOJOURN_WEBHOOK_SECRET": "whsec_bm9ib2R5IHNlZXMgbWUsIG5vYm9keSBhdCBhbGw="}
        out, _ = self.people(0, *words, environment=environment)
        self.assertNotIn("sjn_", out)
        self.assertNotIn("whsec_", out)
        told = self.machines(0, *words, environment=environment)
        self.assertEqual(told["log_level"], {"value": "error", "source": "--log-level"})
        self.assertEqual(told["listen"], {"value": "127.0.0.1:1", "source": "SOJOURN_LISTEN"})
        self.assertEqual(told["drain_grace"]["value"], "3")
        self.assertTrue(told["drain_grace"]["source"].endswith("settings.toml:1"))
        self.assertEqual(told["log_format"], {"value": "text", "source": "default"})
        self.assertEqual(told["api_key"]["value"], "********")
        for name, setting in told.items():
            value, source = re.escape(setting["value"] or "-"), re.escape(setting["source"])
            self.assertRegex(out, rf"(?m)^{name} +{value} +{source}$")

    def test_keys_create(self):
        file = self.folder / "made-keys.toml"
        out, err = self.people(0, "keys", "create", "ci", "--scope", "apps:read", "--file", file)
        self.assertRegex(out, r"^sjn_[A-Za-z0-9_-]{43}\n$")
        self.assertIn("shown only now", err)
        made = self.machines(0, "keys", "create", "other", "--scope", "admin", "--file", file)
        self.assertEqual((made["name"], made["file"]), ("other", str(file)))
        before = file.read_text()
        self.assertIn("ci", self.people(1, "keys", "create", "ci", "--scope", "admin", "--file", file)[1])
        self.assertIn("apps:read", self.people(2, "keys", "create", "x", "--scope", "all", "--file", file)[1])
        self.people(2, "keys", "create", "server", "--scope", "admin", "--file", file)
        self.people(2, "keys", "create", "x", "--scope", "admin", environment={"SOJOURN_KEYS": ""})
        self.assertEqual(file.read_text(), before)

    def test_help_teaches(self):
        for words in ([], ["serve"], ["run"], ["sessions"], ["sessions", "show"], ["apps"], ["audit", "verify"],
                      ["config"], ["keys", "create"]):
            with self.subTest(words=words):
                out, err = self.people(0, *words, "--help")
                self.assertEqual(err, "")
                self.assertIn("sojourn " + " ".join(words), out)
                if words:
                    self.assertIn("Example", out)
                else:
                    self.assertIn("Exit codes: 0 done; 1 it failed", out)
        self.assertRegex(self.people(0, "--version")[0], r"^sojourn \d+\.\d+\.\d+\n$")


class Audit(Served):
    """`audit verify` reads the data folder itself, beside the server that writes it."""

    def setUp(self):
        self.session = self.server.new_session("tests/probe")
        self.task = self.server.run("tests/probe", "set", {"a": "first", "b": "second"}, session=self.session)

    def verify(self, code, *words):
        done = self.server.command("audit", "verify", *words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def findings(self):
        told = json.loads(self.verify(1, self.session, "--json"))
        self.assertFalse(told["ok"])
        self.assertEqual((told["broken"], told["sessions"][0]["id"]), (1, self.session))
        return told["sessions"][0]["findings"]

    def alter(self, sql):
        """Does what somebody with the file could do, and takes it back at the end of the test."""
        import sqlite3

        connection = sqlite3.connect(self.server.data / "sojourn.db", timeout=60)
        self.addCleanup(connection.close)
        row = connection.execute("SELECT row FROM sessions WHERE id = ?", [self.session]).fetchone()[0]
        before = {table: connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", [row]).fetchall()
                  for table, key in (("events", "session"), ("state", "session"), ("tasks", "session"))}

        def restore():
            for table, rows in before.items():
                connection.execute(f"DELETE FROM {table} WHERE session = ?", [row])
                connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
            connection.commit()
            self.verify(0, self.session)

        changed = connection.execute(sql, {"session": row}).rowcount
        connection.commit()
        self.assertEqual(changed, 1, sql)
        # Clean-ups run last first: this before the connection is closed.
        self.addCleanup(restore)

    def test_beside_the_running_server(self):
        out = self.verify(0)
        self.assertRegex(out, rf"(?m)^{self.session}  ok  \d+ events$")
        self.assertRegex(out.splitlines()[-1], r"^\d+ sessions?, \d+ events, 0 broken$")
        self.verify(0, "--all")
        told = json.loads(self.verify(0, self.session, "--json"))
        self.assertEqual((told["ok"], told["broken"], told["sessions"][0]["findings"]), (True, 0, []))

    def test_altered_byte_of_an_event_is_named(self):
        self.alter("UPDATE events SET body = replace(body, 'worker.started', 'worker.Started') "
                   "WHERE session = :session AND seq = 2")
        self.assertEqual(self.findings()[0]["seq"], 2)
        out = self.verify(1, self.session)
        self.assertRegex(out, rf"(?m)^{self.session}  BROKEN  .*event 2\b")
        self.assertIn("1 broken", out)
        self.assertIn("1 broken", self.verify(1, "--all"))

    def test_removed_event_is_named(self):
        self.alter("DELETE FROM events WHERE session = :session AND seq = 2")
        self.assertEqual(self.findings()[0]["seq"], 2)

    def test_cut_off_end_is_found(self):
        self.alter("DELETE FROM events WHERE session = :session AND seq = (SELECT max(seq) FROM events "
                   "WHERE session = :session)")
        self.assertEqual(self.findings()[0]["seq"], len(self.server.events(self.session)) + 1)

    def test_altered_byte_of_a_state_row_is_named(self):
        self.alter("UPDATE state SET value = replace(value, 'first', 'First') WHERE session = :session AND key = 'a'")
        finding = self.findings()[0]
        self.assertEqual(finding["key"], "a")
        self.assertIn("a", finding["message"])

    def test_removed_state_row_is_named(self):
        self.alter("DELETE FROM state WHERE session = :session AND key = 'b'")
        self.assertEqual(self.findings()[0]["key"], "b")

    def test_altered_byte_of_an_output_is_named(self):
        self.alter("UPDATE tasks SET output = replace(output, 'second', 'Second') WHERE session = :session")
        self.assertEqual(self.findings()[0]["task"], self.task["id"])

    def test_unknown_session_and_missing_store(self):
        done = self.server.command("audit", "verify", "sess_20200101_000000_abcdef")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("session not found", done.stderr)
        done = command("audit", "verify", "--data", self.folder / "no such", environment=clean_environment())
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("there is no store in", done.stderr)

    def test_without_a_server(self):
        self.server.stop()
        try:
            self.assertIn(self.session, self.verify(0))
        finally:
            self.server.start()
        wait_for(lambda: self.server.session(self.session)["status"] == "active", "the session")


if __name__ == "__main__":
    unittest.main()
