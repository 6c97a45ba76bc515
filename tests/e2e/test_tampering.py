"""Somebody with the SQLite shell alters, adds or removes each thing that the store holds: it is found, or docs say why
it is no evidence."""

import json
import re
import shutil
import subprocess
import unittest
from datetime import datetime, timedelta, timezone

from e2e.program import SOURCE, Stored, clean_environment, command, wait_for_age


def no_evidence():
    """Table -> columns that are no evidence, as docs/formats/journal.md says."""
    page = (SOURCE / "docs" / "formats" / "journal.md").read_text()
    section = page[page.index("## Verification"):].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*?) \|", section)
    return {table: set(re.findall(r"`(\w+)`", columns)) for table, columns in rows}


class EachColumn(Stored):
    flags = ("--lifecycles", SOURCE / "lifecycles")

    @classmethod
    def fill(cls, server):
        cls.purged = server.post("/sessions", {}).data["id"]
        server.delete(f"/sessions/{cls.purged}")
        server.stop()
        wait_for_age(server.data, 1)
        done = server.command("purge", "--older-than", "1s")
        assert done.stdout == "1 sessions removed\n", done.stdout + done.stderr
        server.start()
        cls.session = server.new_session(
            "counter", user_id="ada", labels={"team": "red"}, metadata={"why": 1.50}, context={"a": [1e-7]},
            setup={"deep": True}, lifecycle="impact-assessment", session_timeout=600)
        server.output("counter", "increment", {"key": "a"}, session=cls.session)
        server.run("counter", "increment", {"key": "a"}, session=cls.session, wait=False,
                   run_at=(datetime.now(timezone.utc) + timedelta(hours=1)).isoformat())
        for action, body in (("start", {}), ("finish", {"data": {"n": 1}}), ("start", {}),
                             ("fail", {"error": {"why": ["0.1", 0.1]}}), ("report", {"duration_ms": 3})):
            server.post(f"/sessions/{cls.session}/steps/search/{action}", body).data
        moved = server.ask("PUT", f"/sessions/{cls.session}/stage", json.dumps({"stage": "requirement_submitted"}).encode(),
                           {"Content-Type": "application/json"})
        assert moved.status == 200, moved.text
        server.run("counter", "increment", 7, session=cls.session)
        server.delete(f"/sessions/{cls.session}")

    @staticmethod
    def sql_on(data, sql):
        done = subprocess.run(["sqlite3", data / "sojourn.db"], input=sql, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), f"{sql}: {done.stderr}"
        return done.stdout

    def verified(self, *words):
        return command("audit", "verify", *words, "--data", self.data, "--json", environment=clean_environment())

    def found(self, sql, *words):
        """Whether verification tells of what `sql` did; the data is as before then."""
        before = (self.data / "sojourn.db").read_bytes()
        self.sql_on(self.data, sql)
        done = self.verified(*words)
        for left in self.data.glob("sojourn.db-*"):
            left.unlink()
        (self.data / "sojourn.db").write_bytes(before)
        if done.returncode == 0:
            return False
        if words and "SESSION_NOT_FOUND" in done.stderr:
            return True
        self.assertEqual((done.returncode, done.stderr), (1, ""), sql)
        self.assertTrue(any(session["findings"] for session in json.loads(done.stdout)["sessions"]))
        return True

    def schema(self):
        tables = self.sql_on(self.data, "SELECT name FROM sqlite_schema WHERE type = 'table'").split()
        return {table: [line.split("|")[1:3] for line in self.sql_on(self.data, f"PRAGMA table_info({table})").splitlines()]
                for table in tables}

    def test_each_column_is_held_against_the_journal_or_said_not_to_be(self):
        self.assertEqual(self.verified().returncode, 0, self.verified().stdout)
        self.assertEqual(self.verified(self.purged).returncode, 0)
        excused = no_evidence()
        schema = self.schema()
        self.assertEqual(excused.keys() - schema.keys(), set())
        for table, columns in schema.items():
            self.assertEqual(excused.get(table, set()) - {column for column, _ in columns}, set(), table)
            for column, type in columns:
                if column in excused.get(table, ()):
                    continue
                with self.subTest(table=table, column=column):
                    # Times of usage are held to the millisecond.
                    step = 5_000 if column.endswith("_time") else 1
                    value = {"TEXT": "'\"tampered\"'", "INTEGER": f"coalesce({column}, 0) + {step}",
                             "BLOB": "zeroblob(32)"}[type]
                    where = "" if table == "state" else f" WHERE rowid = (SELECT max(rowid) FROM {table})"
                    words = [self.purged] if table == "tombstones" else []
                    self.assertTrue(self.found(f"UPDATE {table} SET {column} = {value}{where}", *words))

    def test_rows_that_are_removed_or_added_are_found(self):
        for table in ("sessions", "givens", "events", "state", "tasks", "steps"):
            with self.subTest(removed=table):
                self.assertTrue(self.found(f"DELETE FROM {table}"))
                if table not in ("sessions", "givens", "state"):
                    last = f"(SELECT max(rowid) FROM {table})"
                    self.assertTrue(self.found(f"DELETE FROM {table} WHERE rowid = {last}"))
        added = {
            "events": "INSERT INTO events (session, seq, body, hash) SELECT session, seq + 1, body, hash FROM events "
                      "ORDER BY row DESC LIMIT 1",
            "state": "INSERT INTO state SELECT session, 'added', value FROM state",
            "tasks": "CREATE TEMP TABLE t AS SELECT * FROM tasks LIMIT 1; UPDATE t SET row = 99, id = 'task_added', "
                     "seq = 9, idempotency_key = ''; INSERT INTO tasks SELECT * FROM t",
            "open tasks": "CREATE TEMP TABLE t AS SELECT * FROM tasks LIMIT 1; UPDATE t SET row = 99, id = 'task_added', "
                          "seq = 9, status = 1, output = 'null', idempotency_key = ''; INSERT INTO tasks SELECT * FROM t",
            "steps": "CREATE TEMP TABLE t AS SELECT * FROM steps LIMIT 1; UPDATE t SET row = 99, number = 99, "
                     "attempt = 99; INSERT INTO steps SELECT * FROM t",
        }
        for table, sql in added.items():
            with self.subTest(added=table):
                self.assertTrue(self.found(sql))

    def test_a_session_whose_rows_nobody_can_read_is_not_passed_over(self):
        for sql in ("UPDATE sessions SET labels = '{'", "UPDATE sessions SET status = 77",
                    "UPDATE givens SET metadata = 'x'"):
            with self.subTest(sql):
                self.assertTrue(self.found(sql))

    def test_a_whole_other_journal_that_names_no_key_is_found_where_there_is_no_folder(self):
        import hashlib

        shutil.rmtree(self.data / "sessions")
        for over in (True, False):
            head, statements = hashlib.sha256(f"sojourn journal 1\n{self.session}".encode()).digest(), ["DELETE FROM events"]
            for seq, (type, data) in enumerate([("session.created", {}), ("session.ended", {})][:1 + over], 1):
                body = json.dumps({"seq": seq, "time": "2026-01-15T10:30:45.000000Z", "type": type, "actor": "local",
                                   "data": data})
                head = hashlib.sha256(head + body.encode()).digest()
                statements.append(f"INSERT INTO events (session, seq, body, hash) SELECT row, {seq}, '{body}', "
                                  f"x'{head.hex()}' FROM sessions")
            statements += ["DELETE FROM state", "DELETE FROM tasks", "DELETE FROM steps",
                           f"UPDATE sessions SET chain_seq = {1 + over}, chain_hash = x'{head.hex()}', signature = '', "
                           f"step_count = 0, status = {int(over)}"]
            with self.subTest(over=over):
                self.assertTrue(self.found("; ".join(statements)))


if __name__ == "__main__":
    unittest.main()
