"""A server that answers each request with the next bytes of a script, whatever HTTP says, and both clients for it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import unittest
from typing import Any, Callable, NamedTuple

from sojourn.client import AsyncClient, AsyncSession, AsyncTaskStream, Client

PATIENCE = 60  # how long anything may take that will happen


class Step(NamedTuple):
    """What is answered, and what becomes of the connection: keep, close, reset, hold (silent to the test's end)."""

    data: bytes
    then: str = "keep"


class Asked(NamedTuple):
    method: str
    target: str
    headers: dict
    body: Any
    connection: int  # its number, from 1


def reply(value: Any, status: int = 200, **headers: str) -> Step:
    """A right answer."""
    return page(json.dumps(value), status, **headers)


def page(text: str, status: int = 200, **headers: str) -> Step:
    body = text.encode()
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): told for name, told in headers.items()}}
    lines = "".join(f"{name}: {told}\r\n" for name, told in fields.items())
    return Step(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)


def refusal(code: str, status: int, retryable: bool = False, **headers: str) -> Step:
    error = {"code": code, "message": f"no: {code}", "retryable": retryable, "advice": "Do.", "details": {"n": 1}}
    return reply({"success": False, "error": error}, status, **headers)


def task(status: int = 10, **fields: Any) -> dict:
    return {"id": "task_1", "session_id": "sess_1", "status": status, "output": None, "error": None, **fields}


def stream(*lines: Any, then: str = "close", sse: bool = False) -> Step:
    """A stream of these lines, which has no end of its own."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    body = b"".join(b"data: " + text + b"\n\n" if sse else text + b"\n" for text in texts)
    return Step(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body), then)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


class BadServer:
    """Takes a step of the script for each request; the last one again and again."""

    def __init__(self, *script: Step, context: Any = None, port: int = 0) -> None:
        self.script = list(script)
        self.asked: list[Asked] = []
        self.connections = 0
        self._context = context
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(PATIENCE)
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # closed by now
        for thread in self._threads:
            thread.join(PATIENCE)

    def drop_idle(self) -> None:
        """Closes every connection, as a server that starts anew."""
        with self._lock:
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def bodies(self) -> list[Any]:
        return [one.body for one in self.asked]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection, self.connections))
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as file:
                while (asked := read_request(file, number)) and self._answer(asked, connection):
                    pass
        except OSError:
            pass  # the client went away

    def _answer(self, asked: Asked, connection: socket.socket) -> bool:
        with self._lock:
            self.asked.append(asked)
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        connection.sendall(step.data)
        if step.then == "hold":
            self._over.wait(PATIENCE)
        if step.then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return step.then == "keep"


def read_request(file: Any, number: int = 0) -> Any:
    """The next request, or None at the end."""
    words = file.readline().decode().split()
    if not words:
        return None
    headers = {}
    while line := file.readline().decode("latin-1").rstrip("\r\n"):
        name, _, text = line.partition(": ")
        headers[name] = text
    body = file.read(int(headers.get("Content-Length", 0)))
    return Asked(words[0], words[1], headers, json.loads(body) if body else None, number)


class OnLoop:
    """An asynchronous client, session or stream as if it were the other kind, on a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Any) -> None:
        self._loop, self._target = loop, target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return (lambda *words, **named: self._settled(value(*words, **named))) if callable(value) else value

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(self._target.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Any:
        return self._settled(self._target.__aenter__())

    def __exit__(self, *error: Any) -> Any:
        return self._settled(self._target.__aexit__(*error))

    def _settled(self, value: Any) -> Any:
        if asyncio.iscoroutine(value):
            value = self._loop.run_until_complete(value)
        waits = isinstance(value, (AsyncClient, AsyncSession, AsyncTaskStream)) or hasattr(value, "__anext__")
        return OnLoop(self._loop, value) if waits else value


class WithBlockingClient(unittest.TestCase):
    """Tests of a client against bad servers. Its pauses are noted in `pauses`, and take no time."""

    def setUp(self) -> None:
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None

    def server(self, *script: Step, **options: Any) -> BadServer:
        server = BadServer(*script, **options)
        self.addCleanup(server.close)
        return server

    def client(self, url: str, **options: Any) -> Any:
        client = self.make_client(url, **options)
        network = getattr(client, "_calls").transport.network
        let_others_run = network.sleep

        async def sleep(seconds: float) -> None:
            if seconds:
                self.pauses.append(seconds)
                self.on_pause()
            else:
                await let_others_run(0)

        network.sleep = sleep
        self.addCleanup(client.close)
        return client

    def make_client(self, url: str, **options: Any) -> Any:
        return Client(url, **options)


class WithAsyncClient(WithBlockingClient):
    def setUp(self) -> None:
        super().setUp()
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def make_client(self, url: str, **options: Any) -> Any:
        return OnLoop(self.loop, AsyncClient(url, **options))
