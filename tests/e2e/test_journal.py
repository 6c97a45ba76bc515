"""Journals: pages and filters, following them live, how they are signed, and archives that prove themselves elsewhere."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path

from e2e.program import BINARY, PATIENCE, Program, Served, Stored, clean_environment, command, wait_for


class Follower:
    """The journal of a session as it comes."""

    def __init__(self, server, session, query="", accept="application/x-ndjson", **headers):
        self.connection = server.connection()
        self.connection.request("GET", f"/sessions/{session}/events/stream{query}", headers={"Accept": accept, **headers})
        self.response = self.connection.getresponse()
        self.sse = accept == "text/event-stream"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def next(self):
        """The next event, with the id of its line; None at the end."""
        while line := self.response.readline():
            id = None
            if self.sse:
                if line.startswith(b"id: "):
                    id, line = int(line[4:]), self.response.readline()
                if not line.startswith(b"data: ") or self.response.readline() != b"\n":
                    raise AssertionError(f"no event of a stream: {line}")
                line = line[6:]
            told = json.loads(line)
            if told.get("type") != "heartbeat":
                return id, told["event"]
        return None

    def rest(self):
        found = []
        while (told := self.next()) is not None:
            found.append(told)
        return found


class Journal(Served):
    def session_over(self):
        """A session with a call, that is over."""
        id = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a"}, session=id)
        self.server.delete(f"/sessions/{id}")
        return id

    def pages(self, path):
        found = []
        while path:
            answer = self.server.get(path)
            found.append([entry["event"] for entry in answer.data])
            link = answer.headers["Link"]
            path = link and link[1:link.index(">")]
        return found

    # Pages.

    def test_a_page_names_the_next_in_a_link(self):
        id = self.session_over()
        events = self.server.events(id)
        pages = self.pages(f"/sessions/{id}/events?limit=2")
        self.assertTrue(all(len(page) == 2 for page in pages[:-1]), pages)
        self.assertEqual([event for page in pages for event in page], events)

    def test_filters_by_type_and_time(self):
        id = self.session_over()
        events = self.server.events(id)
        self.assertEqual([e["type"] for e in self.server.events(id)],
                         ["session.created", "worker.started", "call.completed", "worker.closed", "session.ended"])

        def found(query):
            return [event["type"] for page in self.pages(f"/sessions/{id}/events?{query}") for event in page]

        self.assertEqual(found("type=call.completed"), ["call.completed"])
        self.assertEqual(found("type=worker.*"), ["worker.started", "worker.closed"])
        self.assertEqual(found("type=worker.*,session.ended&limit=1"), ["worker.started", "worker.closed", "session.ended"])
        self.assertEqual(found("type=work"), [])
        middle = events[2]["time"]
        self.assertEqual(found(f"before={middle}"), [e["type"] for e in events if e["time"] < middle])
        self.assertEqual(found(f"since={middle}"), [e["type"] for e in events if e["time"] >= middle])
        later = middle.replace("Z", "%2B00:00")
        self.assertEqual(found(f"since={later}&type=call.*"), ["call.completed"])
        self.assertEqual(found("since=2100-01-01T00:00:00Z"), [])

    def test_times_without_a_zone_and_other_nonsense_are_refused(self):
        id = self.session_over()
        for path in ("events", "events/stream"):
            for query, field in (("since=2026-01-15T10:30:45", "since"), ("before=yesterday", "before"),
                                 ("from=0", "from"), ("from=x", "from")):
                error = self.refused(self.server.get(f"/sessions/{id}/{path}?{query}"), 400, "invalid_request")
                self.assertEqual(error["details"]["field"], field)
        answer = self.server.get(f"/sessions/{id}/events/stream", **{"Last-Event-ID": "-1"})
        self.refused(answer, 400, "invalid_request", "Last-Event-ID")
        for path in ("events", "events/stream"):
            self.refused(self.server.get(f"/sessions/sess_20200101_000000_abcdef/{path}"), 404, "SESSION_NOT_FOUND")

    # Following.

    def test_follows_a_session_to_its_end(self):
        for accept, content_type in (("application/x-ndjson", "application/x-ndjson"),
                                     ("text/event-stream", "text/event-stream")):
            id = self.server.new_session("counter")
            with Follower(self.server, id, accept=accept) as follower:
                self.assertEqual(follower.response.headers["Content-Type"], content_type)
                self.assertEqual(follower.next()[1]["type"], "session.created")
                self.server.output("counter", "increment", {"key": "a"}, session=id)
                self.assertEqual([follower.next()[1]["type"] for _ in range(2)], ["worker.started", "call.completed"])
                self.server.delete(f"/sessions/{id}")
                self.assertEqual([event for _, event in follower.rest()], self.server.events(id)[3:])

    def test_goes_on_after_the_last_event_that_a_client_has(self):
        id = self.session_over()
        events = self.server.events(id)
        with Follower(self.server, id, accept="text/event-stream", **{"Last-Event-ID": "2"}) as follower:
            self.assertEqual(follower.rest(), [(event["seq"], event) for event in events[2:]])
        with Follower(self.server, id, query="?from=4") as follower:
            self.assertEqual([event for _, event in follower.rest()], events[3:])
        with Follower(self.server, id, accept="text/event-stream", **{"Last-Event-ID": str(len(events))}) as follower:
            self.assertEqual(follower.response.status, 204)

    def test_follows_only_what_is_wanted(self):
        id = self.server.new_session("counter")
        with Follower(self.server, id, query="?type=call.*,session.ended") as follower:
            for _ in range(3):
                self.server.output("counter", "increment", {"key": "a"}, session=id)
            self.server.delete(f"/sessions/{id}")
            self.assertEqual([event["type"] for _, event in follower.rest()], ["call.completed"] * 3 + ["session.ended"])

    def test_many_followers_miss_nothing(self):
        id = self.server.new_session("counter")
        found = [None] * 8

        def follow(number):
            with Follower(self.server, id) as follower:
                found[number] = [event["seq"] for _, event in follower.rest()]

        threads = [threading.Thread(target=follow, args=(number,)) for number in range(len(found))]
        for thread in threads:
            thread.start()
        for _ in range(50):
            self.server.output("counter", "increment", {"key": "a"}, session=id)
        self.server.delete(f"/sessions/{id}")
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(found, [list(range(1, len(self.server.events(id)) + 1))] * len(found))

    # Signatures.

    def test_signs_how_a_session_ends(self):
        id = self.session_over()
        key = self.server.get("/audit/key").data
        session = self.server.session(id)
        self.assertTrue(session["signature"].startswith(key["key"] + ":"), session)
        self.assertEqual(self.server.events(id)[0]["data"]["key"], key["key"])
        self.assertEqual(self.server.command("audit", "key").stdout, key["public_key"])
        secret = self.server.data / "journal-key.pem"
        self.assertEqual(stat.S_IMODE(secret.stat().st_mode), 0o600)
        done = self.server.command("audit", "verify", id)
        self.assertRegex(done.stdout, rf"(?m)^{id}  ok  5 events, signed$")

    def test_anybody_can_check_the_signature_with_openssl(self):
        id = self.session_over()
        session = self.server.session(id)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "key.pem").write_text(self.server.get("/audit/key").data["public_key"])
        (folder / "head").write_text(f"sojourn head 1\n{id}\n{session['events']}\n{session['head']}\n")
        (folder / "signature").write_bytes(bytes.fromhex(session["signature"].split(":")[1]))
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "head",
                               "-sigfile", "signature"], cwd=folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_folder_knows_the_signed_end(self):
        id = self.session_over()
        folder = self.server.data / "sessions" / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id
        session = self.server.session(id)
        wait_for(lambda: json.loads((folder / "session_metadata.json").read_text())["sojourn"]["signature"] ==
                 session["signature"], "the folder's metadata")

    # Timelines.

    def test_show_draws_the_trail(self):
        id = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a"}, session=id)
        self.server.run("counter", "increment", 7, session=id)
        self.server.delete(f"/sessions/{id}")
        done = self.server.command("audit", "show", id)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith(f"{id}  ended  stage created  app counter"), lines[0])
        self.assertTrue(lines[1].endswith("6 events, signed"), lines[1])
        drawn = [line[14:] for line in lines[3:9]]
        self.assertEqual([line[34:62].strip() for line in drawn],
                         ["session created", "worker started", "call increment", "call increment", "worker closed",
                          "session ended"])
        self.assertRegex(drawn[2], r"^\.*#+\.*  call increment +[0-9.]+ [mu]?s$")
        self.assertRegex(drawn[3], r"^\.*x+\.*  call increment +FAILED invalid_request: increment takes")
        self.assertEqual(lines[-1], "1 failed")
        told = json.loads(self.server.command("audit", "show", id, "--json").stdout)
        self.assertEqual([span["kind"] for span in told], ["point", "work", "work", "failure", "point", "point"])
        self.assertEqual(self.server.command("audit", "show", "sess_20200101_000000_abcdef").returncode, 1)

    # Archives.

    def exported(self, id):
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "trail.tar"
        done = self.server.command("audit", "export", id, "--output", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([entry.name for entry in path.parent.iterdir()], ["trail.tar"])
        return path

    def verify_elsewhere(self, archive):
        """As on another machine, which has nothing but the public key."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "key.pem").write_text(self.server.get("/audit/key").data["public_key"])
        return command("audit", "verify", "--archive", archive, "--key", folder / "key.pem", cwd=folder,
                       environment=clean_environment())

    def test_archive_holds_elsewhere_with_only_the_public_key(self):
        for id in (self.session_over(), self.server.new_session("counter")):
            archive = self.exported(id)
            done = self.verify_elsewhere(archive)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"{id}  ok", done.stdout)

    def test_archive_over_http_holds_elsewhere_and_is_what_the_command_writes(self):
        id = self.session_over()
        content = os.urandom(3_000_000)
        live = self.server.new_session("counter")
        self.server.ask("PUT", f"/sessions/{live}/artifacts/large", content)
        for session in (id, live):
            connection = self.server.connection()
            connection.request("GET", f"/sessions/{session}/export")
            response = connection.getresponse()
            self.assertEqual((response.status, response.headers["Content-Type"]), (200, "application/x-tar"))
            self.assertEqual(response.headers["Content-Disposition"], f'attachment; filename="{session}.tar"')
            archive = Path(tempfile.mkdtemp(dir=self.folder)) / "trail.tar"
            archive.write_bytes(response.read())
            connection.close()
            done = self.verify_elsewhere(archive)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with tarfile.open(archive) as over_http, tarfile.open(self.exported(session)) as by_command:
                self.assertEqual(over_http.getnames(), by_command.getnames())
                for name in over_http.getnames():
                    if "manifest" not in name:
                        self.assertEqual(over_http.extractfile(name).read(), by_command.extractfile(name).read(), name)
        self.refused(self.server.get("/sessions/sess_20200101_000000_abcdef/export"), 404, "SESSION_NOT_FOUND")

    def test_archive_is_a_tar_file_of_plain_json(self):
        id = self.session_over()
        with tarfile.open(self.exported(id)) as archive:
            names = archive.getnames()
            lines = archive.extractfile(f"{id}/events/000001.ndjson").read().decode().splitlines()
        self.assertEqual([name.removeprefix(id) for name in names],
                         ["/session.json", "/events/000001.ndjson", "/state/000001.ndjson", "/tasks/000001.ndjson",
                          "/manifest.json", "/manifest.sig"])
        self.assertEqual([json.loads(line)["event"] for line in lines], self.server.events(id))

    def test_archive_with_one_byte_changed_does_not_hold(self):
        archive = self.exported(self.session_over())
        content = archive.read_bytes()
        for place in range(0, len(content), len(content) // 20):
            changed = bytearray(content)
            changed[place] ^= 1
            archive.write_bytes(changed)
            done = self.verify_elsewhere(archive)
            self.assertEqual(done.returncode, 1, f"byte {place}: {done.stdout}{done.stderr}")
            self.assertIn("BROKEN", done.stdout)

    def test_what_cannot_be_exported_or_verified_says_so(self):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        done = self.server.command("audit", "export", "sess_20200101_000000_abcdef", cwd=folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("session not found", done.stderr)
        done = self.server.command("audit", "export", self.session_over(), "--output", folder / "no" / "a.tar")
        self.assertEqual(done.returncode, 1)
        self.assertIn("a.tar", done.stderr)
        self.assertEqual(list(folder.iterdir()), [])
        archive = self.exported(self.session_over())
        done = self.server.command("audit", "verify", "--archive", archive, cwd=folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--key", done.stderr)
        for key in (folder / "no such", archive):
            done = self.server.command("audit", "verify", "--archive", archive, "--key", key)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn("public key", done.stderr)


class Keys(unittest.TestCase):
    """The key that signs journals: lost, exchanged, and what it signed before."""

    def setUp(self):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "apps").mkdir()
        self.data = folder / "data"
        self.server = Program(folder / "apps", self.data)
        self.addCleanup(self.server.log_file.close)

    def session_over(self):
        id = self.server.post("/sessions", {}).data["id"]
        self.server.delete(f"/sessions/{id}")
        return id

    def command(self, *words, code=0):
        done = command(*words, "--data", self.data, environment=clean_environment())
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def test_lost_key_is_exchanged_by_command_and_what_it_signed_still_holds(self):
        self.server.start()
        old, key = self.session_over(), self.server.get("/audit/key").data
        self.assertIn(key["key"], self.server.log())
        self.assertEqual(key["retired"], [])
        self.command("audit", "key", "--rotate", code=3)  # a server has it
        self.server.stop()
        (self.data / "journal-key.pem").unlink()
        refused = command("serve", "--data", self.data, "--listen", "127.0.0.1:0", environment=clean_environment())
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn(f"sojourn audit key --rotate --data {self.data}", refused.stderr)
        self.command("audit", "verify")

        new = json.loads(self.command("audit", "key", "--rotate", "--json").stdout)
        self.assertNotEqual(new["key"], key["key"])
        self.assertEqual(new["retired"], [{"key": key["key"], "public_key": key["public_key"]}])
        self.server.start()
        self.assertEqual(self.server.get("/audit/key").data, new)
        self.assertIn(new["key"], self.server.log())
        id = self.session_over()
        self.assertEqual(self.server.events(id)[0]["data"]["key"], new["key"])
        self.assertTrue(self.server.session(id)["signature"].startswith(new["key"] + ":"))
        told = self.command("audit", "verify").stdout
        self.assertEqual(told.count("ok  2 events, signed"), 2, told)

        # Elsewhere each key is trusted for itself; the new one vouches for the old in an archive.
        for name, one in (("old", key), ("new", new)):
            (self.data.parent / name).write_text(one["public_key"])
        keys = [word for name in ("old", "new") for word in ("--key", self.data.parent / name)]
        self.command("audit", "verify", *keys)
        self.assertIn(f"signed by key '{new['key']}'", self.command("audit", "verify", *keys[:2], code=1).stdout)
        archive = self.data.parent / "old.tar"
        self.command("audit", "export", old, "--output", archive)
        self.command("audit", "verify", "--archive", archive, *keys[2:])
        self.command("audit", "verify", "--archive", archive, *keys[:2], code=1)
        self.server.stop()

    def test_key_whose_public_half_alone_is_lost_is_shown_and_exchanged(self):
        self.server.start()
        key = self.server.get("/audit/key").data
        self.server.stop()
        shutil.rmtree(self.data / "journal-keys")
        (self.data / "journal-key.pub.pem").unlink()
        self.assertEqual(self.command("audit", "key").stdout, key["public_key"])
        new = json.loads(self.command("audit", "key", "--rotate", "--json").stdout)
        self.assertNotEqual(new["key"], key["key"])
        self.assertEqual(new["retired"], [{"key": key["key"], "public_key": key["public_key"]}])
        for name in ("journal-key.pem", "journal-key.pub.pem"):
            (self.data / name).unlink()
        self.assertIn("journal-key.pem' is gone", self.command("audit", "key", code=2).stderr)

    def test_there_is_nothing_to_exchange_before_there_is_a_key(self):
        self.assertIn("there is no key", self.command("audit", "key", "--rotate", code=2).stderr)
        self.assertFalse(self.data.exists())


class Tampering(Stored):
    """Somebody with the SQLite shell, who also makes all hashes fit again."""

    @classmethod
    def fill(cls, server):
        cls.session = server.new_session("counter")
        for _ in range(3):
            server.output("counter", "increment", {"key": "a"}, session=cls.session)
        server.delete(f"/sessions/{cls.session}")

    def setUp(self):
        super().setUp()
        self.verify(0)

    def verify(self, code):
        done = command("audit", "verify", "--data", self.data, "--json", environment=clean_environment())
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return [finding["kind"] for finding in json.loads(done.stdout)["sessions"][0]["findings"]]

    def shell(self, sql):
        done = subprocess.run(["sqlite3", self.data / "sojourn.db"], input=sql, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def seal(self):
        """Links the events anew, as nobody can who may not write the whole database."""
        import hashlib

        connection = sqlite3.connect(self.data / "sojourn.db")
        head, count = hashlib.sha256(f"sojourn journal 1\n{self.session}".encode()).digest(), 0
        for seq, row, body in connection.execute("SELECT seq, row, body FROM events ORDER BY seq").fetchall():
            count += 1
            told = json.loads(body)
            if told["seq"] != count:
                body = body.replace(f'"seq":{told["seq"]}', f'"seq":{count}', 1)
            head = hashlib.sha256(head + body.encode()).digest()
            connection.execute("UPDATE events SET seq = ?, body = ?, hash = ? WHERE row = ?", [count, body, head, row])
        connection.execute("UPDATE sessions SET chain_seq = ?, chain_hash = ?", [count, head])
        connection.commit()
        connection.close()

    CHANGES = {
        "altered": "UPDATE events SET body = replace(body, 'ended by request', 'ended in peace') WHERE seq = 7",
        "removed": "DELETE FROM events WHERE seq = 4",
        "reordered": "UPDATE events SET seq = 99 WHERE seq = 3; UPDATE events SET seq = 3 WHERE seq = 4; "
                     "UPDATE events SET seq = 4 WHERE seq = 99",
        "truncated": "DELETE FROM events WHERE seq > 4",
    }

    def test_each_change_is_found(self):
        for change, sql in self.CHANGES.items():
            with self.subTest(change):
                self.setUp()
                self.shell(sql)
                self.assertTrue(self.verify(1))

    def test_each_change_is_found_though_the_chain_was_sealed_again(self):
        for change, sql in self.CHANGES.items():
            with self.subTest(change):
                self.setUp()
                self.shell(sql)
                self.seal()
                self.assertIn("signature", self.verify(1))

    def test_an_end_that_was_undone_is_found_in_the_folder(self):
        self.shell("DELETE FROM events WHERE seq > 5; "
                   "UPDATE sessions SET status = 0, ended_at = NULL, end_reason = '', signature = ''")
        self.seal()
        self.assertIn("folder", self.verify(1))


if __name__ == "__main__":
    unittest.main()
