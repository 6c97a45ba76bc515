"""Files into calls and out of them: announced, uploaded, brought to the session, handed out, fetched, cleared away."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.program import BINARY, COMPLETED, FAILED, PATIENCE, Program, clean_environment, wait_for, write_app

FILES_APP = """
import os, pathlib
from sojourn import App, serve

class Files(App):
    def run(self, input):
        return input

    def read(self, input):
        file = input["file"]
        return {"text": pathlib.Path(file["path"]).read_text(), "inside": file["path"].startswith(os.getcwd() + "/"), **file}

    def write(self, session, input):
        path = pathlib.Path(input["path"])
        if path.parent != pathlib.Path("."):
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(input["text"].encode() * input.get("times", 1))
        return {"made": [{"file": {"path": str(path), **input.get("more", {})}}]}

    def name(self, input):
        return {"file": {"path": input["path"]}}

    def link(self, input):
        os.makedirs("real", exist_ok=True)
        pathlib.Path("real/own").write_text("own")
        os.symlink(input["to"], input["name"])
        return None

    def mangle(self, input):
        pathlib.Path(input["file"]["path"]).write_text("changed and longer")
        return None

serve(Files)
"""

MEBIBYTE = 1 << 20


class FilesTest(unittest.TestCase):
    flags = ()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        apps = self.folder / "apps"
        apps.mkdir()
        write_app(apps, "files", FILES_APP)
        manifest = apps / "files" / "app.toml"
        functions = '["run", "read", "write", "name", "link", "mangle"]'
        manifest.write_text(manifest.read_text().replace('["run"]', functions))
        self.server = self.program(self.folder / "data")

    def program(self, data):
        # Freed memory that the address sanitizer holds back would count as the server's.
        little = {"ASAN_OPTIONS": "quarantine_size_mb=1"}
        server = Program(self.folder / "apps", data, *self.flags, environment=little)
        self.addCleanup(server.log_file.close)
        self.addCleanup(lambda: server.process and server.process.poll() is None and server.kill())
        return server.start()

    def stop(self):
        self.server.stop()

    def announce(self, headers=None, **file):
        return self.server.ask("POST", "/files", {"files": [{"uri": "", **file}]}, headers)

    def ticket(self, **file):
        return self.announce(**file).data[0]

    def path_of(self, url):
        return url.removeprefix(self.server.url)

    def put(self, url, content, **headers):
        return self.server.ask("PUT", self.path_of(url), content, {"Content-Type": "text/plain", **headers})

    def upload(self, content, **file):
        ticket = self.ticket(size=len(content), **file)
        answer = self.put(ticket["upload_url"], content)
        self.assertEqual(answer.status, 200, answer.text)
        return ticket

    def fetch(self, uri, method="GET", **headers):
        connection = self.server.connection()
        try:
            connection.request(method, self.path_of(uri), headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def refused(self, answer, status, code, words=""):
        self.assertEqual((answer.status, answer.error["code"]), (status, code), answer.text)
        self.assertIn(words, answer.error["message"])

    def kept(self):
        """What lies in the folder of files."""
        return sorted(os.listdir(self.folder / "data" / "files"))


class Uploads(FilesTest):
    def test_an_upload_is_fetched_as_it_was_sent(self):
        content = os.urandom(3 * MEBIBYTE + 17)  # more than the pieces it travels in
        ticket = self.upload(content, filename="größe.bin", content_type="image/png")
        self.assertEqual(ticket["uri"], f"{self.server.url}/files/{ticket['id']}")
        status, headers, body = self.fetch(ticket["uri"])
        self.assertEqual((status, body), (200, content))
        self.assertEqual(headers["Content-Type"], "image/png")
        self.assertEqual(headers["Content-Length"], str(len(content)))
        self.assertEqual(headers["ETag"], f'"{hashlib.sha256(content).hexdigest()}"')
        self.assertEqual(headers["Content-Disposition"], "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe.bin")
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        status, headers, body = self.fetch(ticket["uri"], "HEAD")
        self.assertEqual((status, headers["Content-Length"], body), (200, str(len(content)), b""))
        self.stop()

    def test_an_empty_file_is_a_file(self):
        ticket = self.upload(b"", filename="empty")
        self.assertEqual(self.fetch(ticket["uri"])[2], b"")
        self.stop()

    def test_parts_are_sent_as_they_are_asked_for(self):
        ticket = self.upload(b"0123456789")
        etag = self.fetch(ticket["uri"])[1]["ETag"]
        for asked, status, part in (("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-3", 206, b"789"),
                                    ("bytes=-99", 206, b"0123456789"), ("bytes=0-99", 206, b"0123456789"),
                                    ("bytes=4-18446744073709551615", 206, b"456789"),
                                    ("bytes=4-2", 200, b"0123456789"), ("bytes=0-1,3-4", 200, b"0123456789"),
                                    ("lines=1-2", 200, b"0123456789"), ("bytes=x-", 200, b"0123456789")):
            with self.subTest(range=asked):
                got, headers, body = self.fetch(ticket["uri"], **{"Range": asked})
                self.assertEqual((got, body), (status, part))
                self.assertEqual(headers["Content-Length"], str(len(part)))
        self.assertEqual(self.fetch(ticket["uri"], Range="bytes=2-4")[1]["Content-Range"], "bytes 2-4/10")
        status, headers, _ = self.fetch(ticket["uri"], Range="bytes=10-")
        self.assertEqual((status, headers["Content-Range"]), (416, "bytes */10"))
        self.assertEqual(self.fetch(ticket["uri"], **{"Range": "bytes=0-0", "If-Range": '"other"'})[0], 200)
        self.assertEqual(self.fetch(ticket["uri"], **{"Range": "bytes=0-0", "If-Range": etag})[0], 206)
        self.assertEqual(self.fetch(ticket["uri"], **{"If-None-Match": etag})[0], 304)
        self.stop()

    def test_a_file_that_was_uploaded_is_there_after_a_crash_and_a_half_one_is_not(self):
        whole = self.upload(b"whole")
        half = self.ticket(size=10)
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as client:
            client.sendall(f"PUT {self.path_of(half['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
                           "Content-Length: 10\r\n\r\n01234".encode())
            wait_for(lambda: f"{half['id']}.new" in self.kept(), "the upload to begin")
            address = self.path_of(half["upload_url"])
            self.server.kill()
        self.server.start()
        self.assertEqual(self.kept(), [whole["id"]])
        self.assertEqual(self.fetch(f"/files/{whole['id']}")[2], b"whole")
        self.assertEqual(self.fetch(f"/files/{half['id']}")[0], 404)
        self.refused(self.put(address, b"0123456789"), 404, "not_found")
        self.stop()

    def test_a_client_that_leaves_within_an_upload_leaves_nothing_and_may_try_again(self):
        ticket = self.ticket(filename="x", size=10)
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as client:
            client.sendall(f"PUT {self.path_of(ticket['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
                           "Content-Length: 10\r\n\r\n01234".encode())
            wait_for(lambda: self.kept() == [f"{ticket['id']}.new"], "the upload to begin")
            self.refused(self.put(ticket["upload_url"], b"0123456789"), 409, "conflict", "just being uploaded")
        wait_for(lambda: self.kept() == [], "the half upload to go")
        # Its file goes before the ticket is free.
        again = wait_for(lambda: (answer := self.put(ticket["upload_url"], b"0123456789")).status != 409 and answer,
                         "the half upload to be over")
        self.assertEqual(again.status, 200)
        self.assertEqual(self.fetch(ticket["uri"])[2], b"0123456789")
        self.stop()

    def test_a_large_upload_takes_little_memory(self):
        def resident():
            return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.server.process.pid}/status").read_text())[1])

        size = 64 * MEBIBYTE
        ticket = self.ticket(size=size)
        before = resident()
        piece = bytes(MEBIBYTE)
        connection = self.server.connection()
        connection.putrequest("PUT", self.path_of(ticket["upload_url"]))
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for _ in range(size // len(piece)):
            connection.send(piece)
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        status, headers, body = self.fetch(ticket["uri"])
        self.assertEqual((status, len(body)), (200, size))
        self.assertLess(resident() - before, 16 * 1024, "KiB more than before")
        self.stop()

    def test_uploads_that_are_chunked_or_wait_to_be_asked_arrive(self):
        ticket = self.ticket()
        answer = self.server.raw(
            f"PUT {self.path_of(ticket['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(self.fetch(ticket["uri"])[1]["Content-Type"], "application/octet-stream")
        ticket = self.ticket()
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as client:
            client.sendall(f"PUT {self.path_of(ticket['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
                           "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode())
            self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"hello")
            self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n"))
        self.stop()


class Refusals(FilesTest):
    def test_announcements(self):
        for file, word in (({"filename": "a/b"}, "path"), ({"filename": ".."}, "path"), ({"filename": "x" * 300}, "255"),
                           ({"filename": "a\0b"}, "control"), ({"filename": 7}, "string"), ({"path": "/etc/passwd"}, "absolute"),
                           ({"path": "a/../../b"}, ".."), ({"path": "a\0b"}, "NUL"), ({"path": "a/" + "x" * 300}, "255"),
                           ({"size": -1}, "bytes"), ({"size": "1"}, "bytes"), ({"content_type": "text/plain\r\nX: y"}, "ASCII")):
            with self.subTest(file=file):
                self.refused(self.announce(**file), 400, "invalid_request", word)
        self.refused(self.announce(size=(256 << 20) + 1), 413, "too_large", "268435456")
        for body in ({}, {"files": 1}, {"files": []}, {"files": [1]}, {"files": [{}] * 65}):
            self.refused(self.server.post("/files", body), 400, "invalid_request", "files")
        self.assertEqual(self.ticket(path="images/cat.png")["filename"], "cat.png")
        self.assertEqual(self.ticket(filename=None, size=None)["filename"], "file")
        self.stop()

    def test_uploads(self):
        ticket = self.ticket(size=5)
        self.refused(self.put(ticket["upload_url"], b"1234"), 400, "invalid_request", "5 bytes")
        self.refused(self.put(ticket["upload_url"], b"123456"), 400, "invalid_request", "5 bytes")
        self.refused(self.put(ticket["uri"], b"12345"), 404, "not_found", "announce")
        self.refused(self.put(ticket["uri"] + "?token=" + "0" * 64, b"12345"), 404, "not_found", "announce")
        self.refused(self.put("/files/x?token=y", b"12345"), 404, "not_found", "announce")
        self.assertEqual(self.fetch(ticket["uri"])[0], 404, "nothing is there before the upload")
        chunked = self.server.raw(
            f"PUT {self.path_of(ticket['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n".encode())
        self.refused(chunked, 400, "invalid_request", "5 bytes")
        self.assertEqual(self.kept(), [])
        self.assertEqual(self.put(ticket["upload_url"], b"12345").status, 200)
        self.refused(self.put(ticket["upload_url"], b"12345"), 409, "already_exists", "uploaded already")
        huge = self.server.raw(
            f"PUT {self.path_of(self.ticket()['upload_url'])} HTTP/1.1\r\nHost: {self.server.host}\r\n"
            f"Content-Length: {(256 << 20) + 1}\r\n\r\n".encode())
        self.refused(huge, 413, "too_large")
        self.stop()

    def test_files_that_are_not_there(self):
        for path in ("/files/x", "/files/file_" + "0" * 32, "/files/file_" + "0" * 31 + "/", "/files/%2e%2e"):
            with self.subTest(path=path):
                self.assertIn(self.fetch(path)[0], (400, 404))
        answer = self.server.ask_run("files", input={"file": "/files/file_" + "0" * 32})
        self.refused(answer, 404, "not_found", "there is no file")
        waiting = self.ticket(size=1)
        self.refused(self.server.ask_run("files", input=waiting["uri"]), 404, "not_found")
        self.refused(self.server.ask_run("files", input=[f"/files/file_{i:032x}" for i in range(65)]), 400, "invalid_request")
        self.assertEqual(self.server.get("/sessions").data, [], "nothing was begun")
        self.stop()

    def test_a_deleted_file_is_gone(self):
        ticket = self.upload(b"x")
        self.assertEqual(self.server.delete(f"/files/{ticket['id']}").status, 204)
        self.assertEqual(self.fetch(ticket["uri"])[0], 404)
        self.assertEqual(self.kept(), [])
        self.refused(self.server.delete(f"/files/{ticket['id']}"), 404, "not_found")
        self.stop()

    def test_a_full_disk_refuses_an_upload_and_leaves_nothing_of_it(self):
        self.stop()
        disk = self.folder / "disk"
        disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "sojourn-e2e", disk], capture_output=True)
        if done.returncode != 0:
            self.fail(f"this test mounts a small file system, which takes root: {done.stderr.decode()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", disk], check=True)
        self.server = self.program(disk / "data")
        answer = self.put(self.ticket()["upload_url"], bytes(12 * MEBIBYTE))
        self.refused(answer, 507, "store_full")
        wait_for(lambda: os.listdir(disk / "data" / "files") == [], "the half upload to go")
        self.assertEqual(self.put(self.ticket()["upload_url"], b"small").status, 200)
        self.stop()


class Calls(FilesTest):
    def read(self, file, session="new"):
        return self.server.run("files", "read", {"file": file}, session=session)

    def test_an_input_that_names_a_file_reaches_the_app_as_a_local_one(self):
        ticket = self.upload(b"hello", filename="in.txt", content_type="text/plain")
        task = self.read(ticket["uri"])
        self.assertEqual(task["status"], COMPLETED, task)
        self.assertEqual(task["input"], {"file": ticket["uri"]}, "what was asked is kept as it was asked")
        output = task["output"]
        self.assertEqual((output["text"], output["inside"]), ("hello", True))
        self.assertTrue(output["path"].endswith(f"/{task['session_id']}/files/{ticket['id']}/in.txt"))
        self.assertEqual({name: output[name] for name in ("uri", "filename", "content_type", "size")},
                         {"uri": ticket["uri"], "filename": "in.txt", "content_type": "text/plain", "size": 5})
        # Again, by another name of the server, as an object, in this session and in another.
        for file in (f"https://elsewhere.example/v1/files/{ticket['id']}", {"uri": f"/files/{ticket['id']}", "mine": 1}):
            self.assertEqual(self.read(file, task["session_id"])["output"]["text"], "hello")
            self.assertEqual(self.read(file)["output"]["text"], "hello")
        for other in ("/files/", f"x/files/{ticket['id']}", f"/files/{ticket['id']}/", f"ftp://h/files/{ticket['id']}"):
            self.assertEqual(self.server.output("files", input=[other]), [other])
        self.stop()

    def test_what_a_worker_makes_of_its_copy_concerns_only_itself_until_it_asks_again(self):
        ticket = self.upload(b"hello")
        session = self.read(ticket["uri"])["session_id"]
        self.server.output("files", "mangle", {"file": ticket["uri"]}, session=session)
        self.assertEqual(self.fetch(ticket["uri"])[2], b"hello")
        self.assertEqual(self.read(ticket["uri"], session)["output"]["text"], "hello")
        self.stop()

    def test_a_link_in_place_of_the_folder_is_not_followed(self):
        ticket = self.upload(b"hello")
        outside = self.folder / "outside"
        outside.mkdir()
        session = self.server.run("files", "link", {"name": "files", "to": str(outside)})["session_id"]
        task = self.read(ticket["uri"], session)
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "invalid_request"), task)
        self.assertEqual(os.listdir(outside), [])
        self.stop()

    def test_a_file_that_a_call_hands_out_is_fetched(self):
        task = self.server.run("files", "write", {"path": "a/out.txt", "text": "made", "more": {"content_type": "text/plain"}})
        file = task["output"]["made"][0]["file"]
        self.assertEqual({**file, "uri": ""}, {"uri": "", "filename": "out.txt", "content_type": "text/plain", "size": 4,
                                               "sha256": hashlib.sha256(b"made").hexdigest()})
        # It stays what it was, whatever the session does then.
        self.server.run("files", "write", {"path": "a/out.txt", "text": "other"}, session=task["session_id"])
        self.server.delete(f"/sessions/{task['session_id']}")
        self.assertEqual(self.fetch(file["uri"])[2], b"made")
        # And may go into another call.
        self.assertEqual(self.read(file["uri"])["output"]["text"], "made")
        self.stop()

    def test_only_plain_files_of_the_session_are_handed_out(self):
        outside = self.folder / "secret"
        outside.write_text("secret")
        session = self.server.run("files", "link", {"name": "link", "to": str(outside)})["session_id"]
        self.server.run("files", "link", {"name": "linked", "to": "real"}, session=session)
        day = self.server.data / "sessions"
        os.mkfifo(next(day.glob(f"*/{session}")) / "pipe")
        os.link(outside, next(day.glob(f"*/{session}")) / "hard")
        for path, code in (("link", "invalid_request"), ("linked/own", "invalid_request"), ("../x", "invalid_request"),
                           ("real/../../x", "invalid_request"), (str(outside), "invalid_request"), ("", "invalid_request"),
                           (".", "invalid_request"), ("real", "invalid_request"), ("pipe", "invalid_request"),
                           ("hard", "invalid_request"), ("a\0b", "invalid_request"), ("x" * 300, "invalid_request"),
                           ("missing", "not_found"), ("real/missing", "not_found")):
            task = self.server.run("files", "name", {"path": path}, session=session)
            with self.subTest(path=path):
                self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, code), task)
                self.assertEqual(task["output"], None)
        self.assertEqual(self.kept(), [])
        good = self.server.output("files", "name", {"path": "./real//own"}, session=session)
        self.assertEqual(self.fetch(good["file"]["uri"])[2], b"own")
        self.stop()


class OfOthers(FilesTest):
    def setUp(self):
        self.keys = {}
        self.key_folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, self.key_folder, ignore_errors=True)
        file = self.key_folder / "keys.toml"
        for name, scope in (("ann", "apps:execute"), ("bob", "apps:execute"), ("root", "admin")):
            words = [BINARY, "keys", "create", name, "--scope", scope, "--file", file]
            words += ["--scope", "apps:read"] if scope != "admin" else []
            made = subprocess.run(words, capture_output=True, text=True, check=True, env=clean_environment())
            self.keys[name] = {"Authorization": "Bearer " + re.search(r"sjn_\S+", made.stdout)[0]}
        self.flags = ("--keys", file)
        super().setUp()

    def test_a_file_belongs_to_the_key_that_made_it(self):
        ticket = self.announce(self.keys["ann"], filename="a", size=5).data[0]
        self.refused(self.announce(filename="a"), 401, "unauthorized")
        self.assertEqual(self.put(ticket["upload_url"], b"hello").status, 200, "the address is the key")
        self.assertEqual(self.fetch(ticket["uri"])[0], 401)
        for name, status in (("ann", 200), ("bob", 404), ("root", 200)):
            with self.subTest(key=name):
                self.assertEqual(self.fetch(ticket["uri"], **self.keys[name])[0], status)
                answer = self.server.ask_run("files", "read", {"file": ticket["uri"]}, headers=self.keys[name])
                self.assertEqual(answer.status, status, answer.text)
        made = self.server.run("files", "write", {"path": "o", "text": "x"}, headers=self.keys["ann"])
        uri = made["output"]["made"][0]["file"]["uri"]
        self.assertEqual(self.fetch(uri, **self.keys["ann"])[0], 200)
        self.assertEqual(self.fetch(uri, **self.keys["bob"])[0], 404)
        deleted = self.server.ask("DELETE", self.path_of(ticket["uri"]), headers=self.keys["bob"])
        self.refused(deleted, 404, "not_found")
        self.assertEqual(self.fetch(ticket["uri"], **self.keys["ann"])[0], 200)
        self.stop()

    def test_one_key_leaves_places_for_the_uploads_of_others(self):
        def announce(key, count):
            return self.server.ask("POST", "/files", {"files": [{}] * count}, self.keys[key])

        for count in [50] * 20:
            self.assertEqual(announce("ann", count).status, 200)
        refused = announce("ann", 1)
        self.refused(refused, 429, "queue_full", "1000 uploads")
        self.assertEqual(refused.headers["Retry-After"], "1")
        self.assertEqual(announce("bob", 1).status, 200)
        self.stop()


if __name__ == "__main__":
    unittest.main()
