"""Clients that are slow, greedy, broken or gone: each gets its due, and a healthy one beside them goes on."""

import http.client
import json
import os
import re
import resource
import select
import socket
import ssl
import struct
import threading
import time

from e2e.program import COMPLETED, PATIENCE, Served, wait_for

MEBIBYTE = 1 << 20


class Healthy(threading.Thread):
    """A client that does nothing wrong: it counts without pause, and must be answered each time."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.session = server, server.new_session("counter", session_timeout=3600)
        self.count, self.failure, self.stopped = 0, None, False

    def run(self):
        try:
            while not self.stopped:
                output = self.server.output("counter", "increment", {"key": "n"}, session=self.session)
                if output["current"] != self.count + 1:
                    raise AssertionError(f"after {self.count} came {output}")
                self.count += 1
                time.sleep(0.01)
        except Exception as failure:  # told by the test that it happened in
            self.failure = failure


class Clients(Served):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        cls.healthy = Healthy(cls.server)
        cls.healthy.start()

        def stop():
            cls.healthy.stopped = True
            cls.healthy.join()

        cls.addClassCleanup(stop)

    def tearDown(self):
        before = self.healthy.count
        wait_for(lambda: self.healthy.failure or self.healthy.count >= before + 3, "the healthy client to go on")
        self.assertIsNone(self.healthy.failure)

    # Words.

    def connect(self, request=b"", receive_buffer=None):
        client = socket.socket()
        self.addCleanup(client.close)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        client.connect((self.server.host, self.server.port))
        client.sendall(request)
        return client

    def reset(self, client):
        """Ends a connection as a client does that dies."""
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    def run_request(self, body, *fields, method=b"POST", target=b"/apps/run"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body), *fields]
        return b"\r\n".join(head) + b"\r\n\r\n" + body

    def answer(self, client):
        """Status and body of the next answer."""
        response = http.client.HTTPResponse(client)
        response.begin()
        text = response.read()
        return response.status, json.loads(text) if text else None

    def is_served(self, client):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(self.answer(client)[0], 200)

    def is_closed(self, client):
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True

    def memory(self):
        """Bytes that the server has in memory."""
        with open(f"/proc/{self.server.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.server.process.pid}/fd"))

    def gives_back(self, before):
        """That the server has no more descriptors than before, but for the healthy client and its worker."""
        wait_for(lambda: self.descriptors() <= before + 2, "the server to close what was left")

    def seconds_for(self, requests):
        """How long so many requests take one after the other."""
        connection = self.server.connection()
        start = time.monotonic()
        for _ in range(requests):
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        connection.close()
        return time.monotonic() - start

    # Many of them.

    def test_ten_thousand_idle_connections(self):
        count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 1_000)  # half is for connections
        self.seconds_for(100)
        alone = min(self.seconds_for(300) for _ in range(3))
        descriptors, memory = self.descriptors(), self.memory()
        idle = [socket.create_connection((self.server.host, self.server.port), PATIENCE) for _ in range(count)]
        try:
            # They are taken in order: when the last is served, all are.
            self.is_served(idle[-1])
            each = (self.memory() - memory) / count
            beside = min(self.seconds_for(300) for _ in range(3))
            for client in idle[::500]:
                self.is_served(client)
        finally:
            for client in idle:
                client.close()
        self.gives_back(descriptors)
        # About 8 KiB and the same speed; more is allowed for sanitizers, and for what else runs on the machine.
        self.assertLess(each, 64 * 1024)
        self.assertLess(beside, 10 * alone + 1)

    def test_thousands_of_connects_and_resets(self):
        before = self.descriptors()
        for number in range(3_000):
            client = socket.create_connection((self.server.host, self.server.port), PATIENCE)
            if number % 3 == 1:
                client.sendall(b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if number % 3 == 2:
                client.sendall(b"POST /apps/run HTTP/1.1\r\nHost: lo")
            self.reset(client)
        self.gives_back(before)

    # Slow ones.

    def test_writer_of_single_bytes(self):
        client = self.connect()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in self.run_request({"app": "counter", "input": {"key": "slow"}, "session": "new", "wait": True}):
            client.sendall(bytes([byte]))
        status, body = self.answer(client)
        self.assertEqual((status, body["data"]["output"]["current"]), (200, 1))

    def test_reader_of_single_bytes(self):
        text = "x" * 20_000
        client = self.connect(self.run_request({"app": "tests/probe", "input": text, "session": "new", "wait": True}),
                              receive_buffer=2048)
        answer = b""
        while not answer.endswith(b'"messages":[]}'):
            answer += client.recv(1)
        self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["data"]["output"], text)

    def test_readers_that_stop_within_a_stream(self):
        gate = self.fifo()
        task = self.server.run("tests/probe", "emit", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        stalled = []
        before = self.memory()
        for accept in (b"application/x-ndjson", b"text/event-stream"):
            for _ in range(10):
                stalled.append(self.connect(b"GET /tasks/%s/stream HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n"
                                            % (task["id"].encode(), accept), receive_buffer=2048))
        with self.server.stream(task["id"]) as reading:
            for number in range(40):
                gate.write(f"{number:03}" + "x" * 50_000)
                reading.wait_for_line(lambda line: len((line.get("data", line).get("output") or {}).get("seen", []))
                                      == number + 1)
            # 40 MiB were told to each. What waits for a stalled one is one piece: here a partial output of 2 MiB.
            self.assertLess(self.memory() - before, 250 * MEBIBYTE)
            gate.open()
            self.assertEqual(list(reading)[-1]["status"], COMPLETED)
        self.assertEqual(self.server.final_task(task["id"])["status"], COMPLETED)
        for client in stalled:
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200"))

    # Those that leave.

    def test_client_that_leaves_in_mid_call(self):
        session = self.server.new_session("tests/probe")
        before = self.descriptors()
        for leave in (socket.socket.close, self.reset):
            gate = self.fifo()
            client = self.connect(self.run_request({"function": "hold", "input": {"gate": gate.path},
                                                    "session": session, "wait": True}))
            gate.wait_until_read()
            leave(client)
            gate.write("held on")
            gate.open()
            wait_for(lambda: not self.server.session(session)["busy"], "the end of the call")
        self.assertEqual(self.server.event_types(session).count("call.completed"), 2)
        self.assertEqual(self.server.output("tests/probe", "echo", 1, session=session), 1)
        self.server.delete(f"/sessions/{session}")
        self.gives_back(before)

    def test_client_that_closed_its_side_is_answered(self):
        gate = self.fifo()
        client = self.connect(self.run_request({"app": "tests/probe", "function": "hold", "input": {"gate": gate.path},
                                                "session": "new", "wait": True}))
        gate.wait_until_read()
        client.shutdown(socket.SHUT_WR)
        gate.write("waited")
        gate.open()
        status, body = self.answer(client)
        self.assertEqual((status, body["data"]["output"]), (200, {"held": "waited\n"}))

    def test_followers_that_leave(self):
        gate = self.fifo()
        task = self.server.run("tests/probe", "emit", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        before = self.descriptors()
        for number in range(30):
            follower = self.connect(b"GET /tasks/%s/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" % task["id"].encode())
            follower.recv(100)
            follower.close() if number % 2 else self.reset(follower)
        # The first line finds those that were reset gone; those that closed refuse it, and the next finds them gone.
        with self.server.stream(task["id"]) as reading:
            for number in range(3):
                gate.write(str(number))
                reading.wait_for_output({"seen": [str(n) for n in range(number + 1)]})
        self.gives_back(before)
        gate.open()
        self.assertEqual(self.server.final_task(task["id"])["status"], COMPLETED)

    def test_clients_that_leave_in_mid_answer(self):
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "set", {str(n): "x" * MEBIBYTE for n in range(6)}, session=session)
        before = self.descriptors()
        for _ in range(20):
            client = self.connect(b"GET /sessions/%s/state HTTP/1.1\r\nHost: localhost\r\n\r\n" % session.encode(),
                                  receive_buffer=2048)
            client.recv(1000)
            self.reset(client)
        self.gives_back(before)

    # Those that ask for too much.

    def test_hundred_megabytes_of_nested_arrays(self):
        before = self.memory()
        client = self.connect(b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
        self.assertEqual(self.answer(client)[0], 413)

        client = self.connect(b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"[" * 65536 + b"\r\n"
        sent = self.send_until_answered(client, chunk)
        self.assertEqual(self.answer(client)[0], 413)
        self.assertLess(sent, 40 * MEBIBYTE)

        for brackets in (b"[" * (8 * MEBIBYTE - 100), b'{"a":' * 1_000_000, b"[" * 4_000_000 + b"]" * 4_000_000):
            status, body = self.answer(self.connect(self.run_request(brackets)))
            self.assertEqual((status, body["code"]), (400, "invalid_json"))
        self.assertLess(self.memory() - before, 100 * MEBIBYTE)

    def send_until_answered(self, client, chunk):
        """Sends `chunk` again and again until the server answers; returns how many bytes it took."""
        sent = 0
        while sent < 100 * MEBIBYTE and not select.select([client], [], [], 0)[0]:
            client.sendall(chunk)
            sent += len(chunk)
        return sent

    def test_pipelined_calls_are_answered_in_order(self):
        session = self.server.new_session("counter")
        call = self.run_request({"input": {"key": "n"}, "session": session, "wait": True})
        client = self.connect(call * 100)
        self.assertEqual([self.answer_on(client)["data"]["output"]["current"] for _ in range(100)],
                         list(range(1, 101)))

    def answer_on(self, client):
        """The next of several answers on a connection."""
        if not hasattr(self, "file"):
            self.file = client.makefile("rb")
            self.addCleanup(self.file.close)
        length = 0
        while (line := self.file.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return json.loads(self.file.read(length))

    def test_expect_100_continue(self):
        body = json.dumps({"app": "counter", "input": {"key": "n"}, "session": "new", "wait": True}).encode()
        request = self.run_request(body, b"Expect: 100-continue")
        client = self.connect(request.removesuffix(body))
        self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(body)
        self.assertEqual(self.answer(client)[0], 200)
        # One that would be refused is not asked to go on.
        client = self.connect(b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                              b"Content-Length: 999999999\r\n\r\n")
        self.assertEqual(self.answer(client)[0], 413)

    def test_chunked_call(self):
        body = json.dumps({"app": "counter", "input": {"key": "n"}, "session": "new", "wait": True}).encode()
        chunks = b"".join(b"%x;ignored=1\r\n%s\r\n" % (len(body[at:at + 7]), body[at:at + 7])
                          for at in range(0, len(body), 7))
        client = self.connect(b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                              + chunks + b"0\r\nX-Trailer: ignored\r\n\r\n")
        self.assertEqual(self.answer(client)[1]["data"]["status"], COMPLETED)

    # Those that mean ill, or something else.

    def test_request_smuggling(self):
        session = self.server.new_session("counter")
        smuggled = b"DELETE /sessions/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % session.encode()
        start = b"POST /apps/run HTTP/1.1\r\nHost: localhost\r\n"
        for name, head in (
                ("both lengths", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                ("both lengths, turned", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                ("two lengths", b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(smuggled)),
                ("negative length", b"Content-Length: -1\r\n\r\n"),
                ("hidden coding", b"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n"),
                ("space before colon", b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
                ("folded line", b"X: y\r\n Content-Length: 0\r\n\r\n"),
                ("bare line feed", b"X: y\nContent-Length: 0\r\n\r\n"),
                ("NUL", b"X: \0\r\nContent-Length: 0\r\n\r\n"),
                ("bad chunk", b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n"),
                ("overflow of a chunk", b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n")):
            with self.subTest(name):
                client = self.connect(start + head + smuggled)
                self.assertEqual(self.answer(client)[0], 400)
                self.assertTrue(self.is_closed(client))
        for name, head in (("small letters", b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                           ("HTTP/0.9", b"GET /\r\n"), ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")):
            with self.subTest(name):
                client = self.connect(head)
                self.assertEqual(self.answer(client)[0], 400)
                self.assertTrue(self.is_closed(client))
        self.assertEqual(self.server.session(session)["status"], "active")

    def test_tls_to_the_plain_port(self):
        context = ssl.create_default_context()
        with self.assertRaises(ssl.SSLError):
            context.wrap_socket(self.connect(), server_hostname="localhost")

    def test_targets_that_nobody_means(self):
        for target, statuses in ((b"http://localhost/healthz", {400}), (b"*", {400}), (b"localhost:80", {400}),
                                 (b"//healthz", {404}), (b"/healthz/", {404}), (b"/sessions//events", {404}),
                                 (b"/sessions/%C0%AE%C0%AE/x", {400}), (b"/sessions/%E0%80%AF", {400}),
                                 (b"/sessions/%2e%2e", {400}), (b"/sessions/a%00b", {400}),
                                 (b"/sessions/" + b"x" * 10_000, {404}), (b"/tasks/" + b"x" * 10_000, {404}),
                                 (b"/apps/" + b"x" * 10_000, {404}), (b"/tasks/" + b"x" * 20_000, {431}),
                                 (b"/sessions?limit=" + b"9" * 10_000, {400}),
                                 (b"/sessions?" + b"&".join(b"label.%d=x" % n for n in range(1_000)), {200})):
            with self.subTest(target[:40]):
                client = self.connect(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(self.answer(client)[0], statuses)
        self.refused(self.server.get("/apps/run"), 405, "method_not_allowed", "POST")
        answer = self.server.ask_run("counter", headers={"Idempotency-Key": "k" * 10_000})
        self.refused(answer, 400, "invalid_request", "Idempotency-Key")

    def test_http_1_0(self):
        client = self.connect(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(self.answer(client)[0], 200)
        self.assertTrue(self.is_closed(client))


if __name__ == "__main__":
    import unittest

    unittest.main()
