"""A server that is measured, on a data folder of its own, and what is asked of it."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
WORK = ROOT / "build" / "bench"
PROGRAMS = BUILD / "bench"
STOP_DEADLINE = 30  # seconds


class Server:
    """A server under test: on a fresh data folder, or on one that was made before."""

    def __init__(self, command, data, fresh=True):
        if fresh:
            shutil.rmtree(data, ignore_errors=True)
        os.makedirs(data, exist_ok=True)
        self.log = WORK / "server.log"
        with open(self.log, "w", encoding="utf-8") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        self.seconds_to_start = time.monotonic() - began
        match = re.match(r"listening on http://[\d.]+:(\d+)", line)
        if not match:
            self.process.kill()
            self.process.wait()
            raise SystemExit(f"bench: {command[0]} did not start; see {self.log}")
        self.port = int(match.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def resident(self):
        """Bytes of memory that are its own and in use."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


def command_of(server, face, data, apps=ROOT / "apps"):
    """The command that serves `face`, the bare server or Sojourn; `apps` are those of Python."""
    if server == "bare":
        worker = ["--worker", str(ROOT / "bench" / "bare_worker.py")] if face == "python" else []
        return [str(PROGRAMS / "bare_server"), "--data", data, *worker]
    if face == "cpp":
        return [str(PROGRAMS / "bench_server"), "--listen", "127.0.0.1:0", "--data", data]
    if face == "worker":
        apps = PROGRAMS / "apps"
    return [str(BUILD / "sojourn"), "serve", "--apps", str(apps), "--listen", "127.0.0.1:0", "--data", data]


def call_body(session, app="counter", function="increment", **arguments):
    return json.dumps({"app": app, "function": function, "input": arguments or {"key": "n", "amount": 1},
                       "session": session, "wait": True})


def load(server, connections, sessions, seconds, opening=None, body=None, warm_up=1000):
    """What load_client tells of calls to sessions of its own."""
    return _load_client(server, "a call", "POST", "/apps/run", body or call_body("{session}"), connections, warm_up, seconds,
                        "--header", "X-API-Version: 2", "--sessions", sessions, "--open", opening or call_body("new"))


def send(server, method, path, body, connections, seconds=0.0, ids=0, calls=0):
    """What load_client tells of so many seconds, without warming up; or of at least so many calls."""
    return _load_client(server, f"{method} {path}", method, path, body, connections, 0, seconds, "--ids", ids, "--calls",
                        calls)


def _load_client(server, what, method, path, body, connections, warm_up, seconds, *more):
    done = subprocess.run(
        [PROGRAMS / "load_client", "--port", str(server.port), "--method", method, "--path", path, "--body", body,
         "--connections", str(connections), "--warm-up", str(warm_up), "--duration", str(int(seconds * 1000)),
         *map(str, more)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {what} failed\n{done.stdout}{done.stderr}see {server.log}")
    return json.loads(done.stdout)


def request(port, method, path, body=""):
    """The body of the answer; the connection is closed."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = bytearray()
        while part := client.recv(1 << 20):
            answer += part
    return bytes(answer).partition(b"\r\n\r\n")[2]
