"""Artefacts: files that a session's work leaves, by path, with every attempt kept, in the journal and in the folder."""

import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from e2e.program import BINARY, PATIENCE, Program, Served, clean_environment, command, link_apps, wait_for


def folder_of(data, id):
    return data / "sessions" / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id


def contents_of(data, id):
    return data / "artifacts" / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Artifacts(Served):
    def setUp(self):
        self.id = self.server.post("/sessions", {}).data["id"]
        self.session_folder = folder_of(self.server.data, self.id)

    def put(self, path, content, id=None, **headers):
        return self.server.ask("PUT", f"/sessions/{id or self.id}/artifacts/{path}", content,
                               {"Content-Type": "text/plain", **headers})

    def fetch(self, path, **headers):
        connection = self.server.connection()
        self.addCleanup(connection.close)
        connection.request("GET", f"/sessions/{self.id}/artifacts/{path}", headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    def listed(self):
        return self.server.get(f"/sessions/{self.id}/artifacts").data

    def verify(self, code):
        done = self.server.command("audit", "verify", self.id, "--json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return [finding["kind"] for finding in json.loads(done.stdout)["sessions"][0]["findings"]]

    def test_what_is_put_is_got_and_lies_in_the_folder_and_the_journal(self):
        content = os.urandom(300_000)
        answer = self.put("step1_input/requirement.bin", content)
        self.assertEqual(answer.status, 201)
        told = answer.data
        self.assertEqual((told["path"], told["attempt"], told["size"], told["sha256"], told["content_type"]),
                         ("step1_input/requirement.bin", 1, len(content), sha256(content), "text/plain"))
        status, headers, body = self.fetch("step1_input/requirement.bin")
        self.assertEqual((status, body, headers["Content-Type"]), (200, content, "text/plain"))
        self.assertEqual(headers["ETag"], f'"{sha256(content)}"')
        status, headers, body = self.fetch("step1_input/requirement.bin", Range="bytes=10-19")
        self.assertEqual((status, body), (206, content[10:20]))
        self.assertEqual((self.session_folder / "step1_input" / "requirement.bin").read_bytes(), content)
        event = self.server.events(self.id)[-1]
        self.assertEqual((event["type"], event["seq"]), ("artifact.stored", told["event"]))
        self.assertEqual(event["data"], {k: told[k] for k in ("path", "attempt", "size", "sha256", "content_type")})
        self.assertEqual(self.verify(0), [])

    def test_every_attempt_is_kept(self):
        for content in (b"one", b"two", b"three"):
            self.assertEqual(self.put("a.txt", content).status, 201)
        [told] = self.listed()
        self.assertEqual((told["path"], told["attempt"], told["sha256"]), ("a.txt", 3, sha256(b"three")))
        self.assertEqual([earlier["attempt"] for earlier in told["earlier"]], [1, 2])
        self.assertEqual([self.fetch(f"a.txt?attempt={n}")[2] for n in (1, 2, 3)], [b"one", b"two", b"three"])
        self.assertEqual(self.fetch("a.txt")[2], b"three")
        self.assertEqual(self.fetch("a.txt?attempt=4")[0], 404)
        self.assertEqual((self.session_folder / "a.txt").read_bytes(), b"three")
        self.assertEqual(self.verify(0), [])

    def test_the_same_again_is_no_new_attempt(self):
        self.assertEqual(self.put("a.txt", b"same").status, 201)
        again = self.put("a.txt", b"same")
        self.assertEqual((again.status, again.data["attempt"]), (200, 1))
        self.put("a.txt", b"other")
        self.assertEqual(self.put("a.txt", b"same").data["attempt"], 3)
        self.assertEqual(len(list(contents_of(self.server.data, self.id).iterdir())), 2)

    def test_an_empty_one_is_one(self):
        self.assertEqual(self.put("empty", b"").data["size"], 0)
        self.assertEqual(self.fetch("empty")[2], b"")
        self.assertEqual(self.verify(0), [])

    def test_uploads_while_a_call_runs(self):
        fifo = self.fifo()
        id = self.server.new_session("tests/probe")
        task = self.server.run("tests/probe", "hold", {"gate": fifo.path}, session=id, wait=False)
        fifo.wait_until_read()
        self.assertEqual(self.put("beside.txt", b"a call", id=id).status, 201)
        fifo.open()
        self.server.final_task(task["id"])
        types = self.server.event_types(id)
        self.assertLess(types.index("artifact.stored"), types.index("call.completed"))

    def test_paths_that_lead_elsewhere_are_refused(self):
        for path in ("../x", "a/../../x", "..%2Fx", "%2e%2e/x", "a//b", "/etc/passwd", "a/", ".hidden", "x.new", "a%00b",
                     "n" * 300, "a/" + "n" * 300, "session_metadata.json", "SESSION_METADATA.json", "/".join("a" * 20)):
            self.refused(self.put(path, b"x"), 400, "invalid_request")
        self.assertEqual(self.listed(), [])
        self.assertFalse(self.session_folder.exists() and any(self.session_folder.iterdir()))

    def test_links_in_the_folder_are_not_followed(self):
        self.put("first", b"makes the folder")
        outside = Path(tempfile.mkdtemp(dir=self.server.data.parent))
        (self.session_folder / "out").symlink_to(outside)
        (self.session_folder / "link").symlink_to(outside / "file")
        for path in ("out/file", "link"):
            self.refused(self.put(path, b"x"), 400, "invalid_request", "link")
        self.assertEqual(list(outside.iterdir()), [])

    def test_names_that_collide_are_refused(self):
        self.put("Step/Report.json", b"x")
        for path in ("step/report.json", "Step/report.json", "STEP/other", "Step", "Step/Report.json/x"):
            error = self.refused(self.put(path, b"x"), 409, "already_exists")
            self.assertIn("with", error["details"])
        self.assertEqual(len(self.listed()), 1)

    def test_sessions_that_are_over_or_unknown_take_none_but_show_theirs(self):
        self.put("a", b"x")
        self.server.delete(f"/sessions/{self.id}")
        self.refused(self.put("b", b"x"), 410, "SESSION_ENDED")
        self.assertEqual([told["path"] for told in self.listed()], ["a"])
        self.assertEqual(self.fetch("a")[2], b"x")
        for method, path in (("PUT", "/a"), ("GET", "/a"), ("GET", "")):
            answer = self.server.ask(method, f"/sessions/sess_20200101_000000_abcdef/artifacts{path}", b"x" if method == "PUT" else None)
            self.refused(answer, 404, "SESSION_NOT_FOUND")
        self.refused(self.server.get(f"/sessions/{self.id}/artifacts/none"), 404, "not_found")

    def test_too_much_is_refused_and_leaves_nothing(self):
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as connection:
            connection.sendall(f"PUT /sessions/{self.id}/artifacts/big HTTP/1.1\r\nHost: {self.server.host}\r\n"
                               f"Content-Length: {300 * 1024 * 1024}\r\n\r\n".encode())
            response = http.client.HTTPResponse(connection)
            response.begin()
            self.assertEqual(response.status, 413)
        self.assertEqual(self.listed(), [])

    def test_upload_that_breaks_off_leaves_nothing(self):
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as connection:
            connection.sendall(f"PUT /sessions/{self.id}/artifacts/half HTTP/1.1\r\nHost: {self.server.host}\r\n"
                               "Content-Length: 1000000\r\n\r\n".encode() + b"x" * 500_000)
        incoming = self.server.data / "artifacts" / "incoming"
        wait_for(lambda: not any(incoming.iterdir()), "the end of the upload")
        self.assertEqual(self.listed(), [])

    def test_folder_deleted_under_a_live_session_is_made_again(self):
        self.put("a", b"one")
        shutil.rmtree(self.session_folder)
        self.assertEqual(self.put("b", b"two").status, 201)
        self.assertEqual((self.session_folder / "b").read_bytes(), b"two")
        self.assertEqual(self.fetch("a")[2], b"one")
        self.assertEqual(self.verify(1), ["artifact"])  # the folder lacks a
        done = self.server.command("audit", "rebuild", self.id)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((self.session_folder / "a").read_bytes(), b"one")
        self.assertEqual(self.verify(0), [])

    def test_rebuild_makes_folders_from_the_store(self):
        self.put("deep/er/a", b"old")
        self.put("deep/er/a", b"new")
        shutil.rmtree(self.session_folder)
        (self.session_folder.parent).mkdir(exist_ok=True)
        self.server.command("audit", "rebuild")
        self.assertEqual((self.session_folder / "deep" / "er" / "a").read_bytes(), b"new")
        metadata = json.loads((self.session_folder / "session_metadata.json").read_text())
        self.assertEqual(metadata["session_id"], self.id)
        self.assertEqual(self.verify(0), [])
        (self.session_folder / "session_metadata.json").write_text("{")
        self.assertEqual(self.verify(1), ["folder"])
        self.server.command("audit", "rebuild", self.id)
        self.assertEqual(self.verify(0), [])

    def test_altered_content_is_found(self):
        hash = self.put("a", b"content").data["sha256"]
        (self.session_folder / "a").write_bytes(b"CONTENT")
        self.assertEqual(self.verify(1), ["artifact"])
        (self.session_folder / "a").write_bytes(b"content")
        self.assertEqual(self.verify(0), [])
        kept = contents_of(self.server.data, self.id) / hash
        kept.write_bytes(b"CONTENT")
        self.assertEqual(self.verify(1), ["artifact"])
        kept.unlink()
        self.assertEqual(self.verify(1), ["artifact"])

    def test_archive_brings_every_attempt_along(self):
        self.put("a", os.urandom(3_000_000))
        self.put("a", b"second")
        folder = Path(tempfile.mkdtemp(dir=self.server.data.parent))
        archive = folder / "trail.tar"
        done = self.server.command("audit", "export", self.id, "--output", archive)
        self.assertEqual(done.returncode, 0, done.stderr)
        (folder / "key.pem").write_text(self.server.get("/audit/key").data["public_key"])

        def verify(code):
            done = command("audit", "verify", "--archive", archive, "--key", folder / "key.pem",
                           environment=clean_environment())
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)

        verify(0)
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
        verify(1)

    def test_many_writers_lose_nothing(self):
        refused = []

        def write(writer):
            for number in range(10):
                answer = self.put(f"shared/{number}", f"{writer} {number}".encode())
                if answer.status != 201:
                    refused.append(answer.text)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(refused, [])
        for told in self.listed():
            number = told["path"].removeprefix("shared/")
            attempts = [*told["earlier"], told]
            self.assertEqual([attempt["attempt"] for attempt in attempts], list(range(1, 9)))
            self.assertEqual({attempt["sha256"] for attempt in attempts},
                             {sha256(f"{writer} {number}".encode()) for writer in range(8)})
            self.assertEqual(sha256((self.session_folder / told["path"]).read_bytes()), told["sha256"])
        self.assertEqual(self.verify(0), [])


class AuditedReads(Served):
    flags = ("--audit-reads", "true")

    def exported(self, id):
        connection = self.server.connection()
        connection.request("GET", f"/sessions/{id}/export")
        self.assertEqual(connection.getresponse().read()[-1024:], bytes(1024))
        connection.close()

    def test_who_reads_stands_in_the_journal_also_of_a_session_that_is_over(self):
        id = self.server.post("/sessions", {}).data["id"]
        self.server.ask("PUT", f"/sessions/{id}/artifacts/a", b"x")
        self.server.get(f"/sessions/{id}/events")
        self.server.get(f"/sessions/{id}/artifacts")
        self.exported(id)
        self.server.delete(f"/sessions/{id}")
        signature = self.server.session(id)["signature"]
        connection = self.server.connection()
        connection.request("GET", f"/sessions/{id}/artifacts/a")
        self.assertEqual(connection.getresponse().read(), b"x")
        connection.close()
        events = [entry["event"] for entry in self.server.get(f"/sessions/{id}/events").data]
        self.assertEqual([event["type"] for event in events],
                         ["session.created", "artifact.stored", *["audit.read"] * 3, "session.ended", "audit.read"])
        self.assertEqual([event["data"]["what"] for event in events if event["type"] == "audit.read"],
                         ["events", "artifacts", "export", "artifacts/a"])
        self.assertNotEqual(self.server.session(id)["signature"], signature)
        done = self.server.command("audit", "verify", id)
        self.assertRegex(done.stdout, rf"(?m)^{id}  ok  8 events, signed$")
        self.exported(id)
        told = self.server.get(f"/sessions/{id}/events?limit=1000").data[-1]["event"]
        self.assertEqual(told["data"]["what"], "export")
        for path in ("events", "events/stream", "artifacts", "artifacts/a", "export"):
            self.refused(self.server.get(f"/sessions/sess_20200101_000000_abcdef/{path}"), 404, "SESSION_NOT_FOUND")


class Killed(unittest.TestCase):
    def test_uploads_that_were_acknowledged_survive_a_server_that_is_killed_in_the_middle(self):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "apps").mkdir()
        server = Program(folder / "apps", folder / "data")
        self.addCleanup(server.log_file.close)
        acknowledged, session = {}, None
        for round in range(4):
            server.start()
            session = session or server.post("/sessions", {}).data["id"]

            def upload(writer):
                for number in range(1_000):
                    content = os.urandom(random.randrange(200_000))
                    try:
                        answer = server.ask("PUT", f"/sessions/{session}/artifacts/{writer}/{round}.{number}", content)
                    except (OSError, http.client.HTTPException):
                        return
                    acknowledged[f"{writer}/{round}.{number}"] = answer.data["sha256"]

            threads = [threading.Thread(target=upload, args=(writer,)) for writer in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0.05, 0.4))
            server.kill()
            for thread in threads:
                thread.join(PATIENCE)
        server.start()
        try:
            listed = {told["path"]: told["sha256"] for told in server.get(f"/sessions/{session}/artifacts").data}
            self.assertTrue(acknowledged)
            self.assertEqual({path: listed.get(path) for path in acknowledged}, acknowledged)
            # What was in the journal when the server died, but not yet in the folder, is put there.
            done = server.command("audit", "rebuild", session)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = server.command("audit", "verify", session)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual(list((server.data / "artifacts" / "incoming").iterdir()), [])
        finally:
            server.stop()

    def test_exports_that_are_killed_leave_the_archive_whole_or_not_at_all(self):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "apps").mkdir()
        server = Program(folder / "apps", folder / "data").start()
        self.addCleanup(server.log_file.close)
        session = server.post("/sessions", {}).data["id"]
        for number in range(5):
            server.ask("PUT", f"/sessions/{session}/artifacts/{number}", os.urandom(2_000_000))
        key = folder / "key.pem"
        key.write_text(server.get("/audit/key").data["public_key"])
        server.stop()
        archive = folder / "trail.tar"
        words = ["audit", "export", session, "--data", folder / "data", "--output", archive]

        def verify():
            done = command("audit", "verify", "--archive", archive, "--key", key, environment=clean_environment())
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

        for _ in range(12):
            export = subprocess.Popen([BINARY, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env=clean_environment())
            time.sleep(random.uniform(0.005, 0.12))
            export.kill()
            export.wait()
            if archive.exists():
                verify()
        done = command(*words, environment=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        verify()


if __name__ == "__main__":
    unittest.main()
