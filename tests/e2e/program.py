"""The real program as a test sees it: a server on a free port with a data folder of its own, and its commands."""

import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("SOJOURN_BINARY", str(SOURCE / "build" / "release" / "sojourn"))
OWN_APPS = Path(__file__).resolve().parent / "apps"

# How long anything may take that will happen. Long, since a machine under load is slow; no test waits for it to pass.
PATIENCE = 60

COMPLETED, FAILED, CANCELLED = 10, 11, 12
RUNNING = 7


def wait_for(condition, what):
    """What `condition` answers once that is true; fails where it stays false."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.005)


class Answer:
    """An answer over HTTP: status, headers and the JSON of its body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read()
        self.body = json.loads(self.text) if self.text else None

    @property
    def data(self):
        if self.status // 100 != 2:
            raise AssertionError(f"refused with {self.status}: {self.text.decode()}")
        return self.body["data"]

    @property
    def error(self):
        return self.body["error"]


class Program:
    """A server that may be started again on the same data."""

    def __init__(self, apps, data, *flags, environment=None):
        self.apps, self.data, self.flags = Path(apps), Path(data), flags
        # By its mark the server and its supervisor are known; by their folders its workers, which do not inherit it.
        self.mark = f"E2E_SERVER={os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        name, value = self.mark.split("=")
        self.environment = {**clean_environment(), **(environment or {}), name: value}
        self.listen = "127.0.0.1:0"
        self.process = None
        self.log_file = tempfile.TemporaryFile("a+b")

    def start(self):
        """Starts it and returns once it listens."""
        self.spawn()
        line = b""
        if select.select([self.process.stdout], [], [], PATIENCE)[0]:
            line = self.process.stdout.readline()
        if not line.startswith(b"listening on http://"):
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.log()}")
        self.url = line.decode().split()[2]
        self.host, port = self.url.removeprefix("http://").rsplit(":", 1)
        self.port = int(port)
        return self

    def spawn(self):
        """Starts it and does not wait."""
        self.process = subprocess.Popen(
            [BINARY, "serve", "--listen", self.listen, "--data", self.data, "--apps", self.apps, *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log_file, env=self.environment,
        )

    def log(self):
        size = os.fstat(self.log_file.fileno()).st_size
        return os.pread(self.log_file.fileno(), size, 0).decode(errors="replace")

    # Its end, and what is left of it.

    def family(self):
        """The processes that descend from it, as (pid, start time): a pid alone may come again."""
        return family_of(self.process.pid)

    def left(self):
        """What stays of it once it is gone: its supervisor, workers, and what those started."""
        folder = str(self.data.resolve()) + "/"
        left = []
        for pid in processes():
            if _environment(pid).find(self.mark.encode()) >= 0 or folder_of(pid).startswith(folder):
                left.append(f"{pid} {command_of(pid)}")
        return left

    def stop(self):
        """Asks it to stop and waits; fails if it does not end well or leaves a process behind."""
        self.process.send_signal(signal.SIGTERM)
        self.ended_well()

    def ended_well(self):
        """Waits for its end; fails if it does not end well or leaves a process behind."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None
        self.process.stdout.close()
        if code != 0:
            raise AssertionError(f"the server ended with {code}:\n{self.log()}")
        if left := self.left():
            raise AssertionError(f"the server left processes behind: {left}")

    def kill(self):
        """Ends it the hard way; fails if what it had started does not end by itself."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        wait_for(lambda: not self.left(), "the end of what the dead server had started")

    # HTTP.

    def connection(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def ask(self, method, path, body=None, headers=None):
        """One request on a connection of its own. `body` is JSON, or bytes as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, body=None, **headers):
        return self.ask("POST", path, body, headers)

    def delete(self, path):
        return self.ask("DELETE", path)

    def raw(self, request):
        """The answer to bytes as they are."""
        with socket.create_connection((self.host, self.port), PATIENCE) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Answer(response)

    def ask_run(self, app, function=None, input=None, session="new", wait=True, headers=None, **fields):
        body = {"app": app, "input": {} if input is None else input, "wait": wait, **fields}
        if function is not None:
            body["function"] = function
        if session is not None:
            body["session"] = session
        return self.ask("POST", "/apps/run", body, headers)

    def run(self, *words, **fields):
        """The task of a call, final unless wait=False."""
        return self.ask_run(*words, **fields).data

    def output(self, *words, **fields):
        """The output of a call that succeeds."""
        task = self.run(*words, **fields)
        if task["status"] != COMPLETED:
            raise AssertionError(f"the call did not complete: {task}")
        return task["output"]

    def new_session(self, app, **fields):
        return self.post("/sessions", {"app": app, **fields}).data["id"]

    def task(self, id):
        return self.get(f"/tasks/{id}").data

    def final_task(self, id):
        return wait_for(lambda: (task := self.task(id))["status"] >= COMPLETED and task, f"the end of {id}")

    def session(self, id):
        return self.get(f"/sessions/{id}").data

    def over(self, id):
        """A session once it is no longer active."""
        return wait_for(lambda: (seen := self.session(id))["status"] != "active" and seen, f"the end of {id}")

    def worker(self, session):
        """The process that serves a session."""
        return int(self.session(session)["worker_id"].removeprefix("pid-"))

    def kill_worker(self, session):
        """Ends it the hard way, and waits until the server knows: a call that comes before that fails with it."""
        os.kill(self.worker(session), signal.SIGKILL)
        wait_for(lambda: "worker_id" not in self.session(session), "the server to see that its worker is gone")

    def events(self, id):
        """The journal of a session."""
        found = []
        while page := self.get(f"/sessions/{id}/events?limit=1000&from={len(found) + 1}").data:
            found += [entry["event"] for entry in page]
        return found

    def event_types(self, id):
        return [event["type"] for event in self.events(id)]

    def stream(self, task, accept="application/x-ndjson"):
        return Stream(self, task, accept)

    # The command line.

    def command(self, *words, environment=None, **options):
        """Runs a command of the program that talks to this server."""
        settings = {"SOJOURN_URL": self.url, "SOJOURN_DATA": str(self.data)}
        return command(*words, environment={**self.environment, **settings, **(environment or {})}, **options)


class Stream:
    """The lines of a task's stream as they come."""

    def __init__(self, program, task, accept):
        self.connection = program.connection()
        self.connection.request("GET", f"/tasks/{task}/stream", headers={"Accept": accept})
        self.response = self.connection.getresponse()
        self.content_type = self.response.headers["Content-Type"]
        self.sse = accept == "text/event-stream"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def __iter__(self):
        while (line := self.next()) is not None:
            yield line

    def wait_for_output(self, output):
        """Reads on until the task shows `output`, in the first line or as a partial one later."""

        self.wait_for_line(lambda line: line.get("data", line).get("output") == output)

    def wait_for_line(self, fits):
        """Reads on until a line fits."""
        wait_for(lambda: fits(self.next()), "a line of a stream")

    def next(self):
        """The next line's JSON, or None at the end."""
        line = self.response.readline()
        if not line:
            return None
        if self.sse:
            if not line.startswith(b"data: ") or self.response.readline() != b"\n":
                raise AssertionError(f"no event of a stream: {line}")
            line = line.removeprefix(b"data: ")
        return json.loads(line)


class Installed(unittest.TestCase):
    """Tests with a folder of their own, and a server in it that is not started."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        apps = cls.folder / "apps"
        apps.mkdir()
        cls.make_apps(apps)
        cls.server = Program(apps, cls.folder / "data", *cls.flags)
        cls.addClassCleanup(cls.server.log_file.close)
        cls.addClassCleanup(stop_if_running, cls.server)

    @classmethod
    def make_apps(cls, folder):
        """Fills the folder of apps."""
        link_apps(folder)


class Stored(Installed):
    """Tests of what a server left behind when it stopped: each of them has a copy, `data`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.start()
        cls.fill(cls.server)
        cls.server.stop()

    def setUp(self):
        self.data = Path(tempfile.mkdtemp(dir=self.folder)) / "data"
        shutil.copytree(self.server.data, self.data)


class Served(Installed):
    """Tests of one server, started once for all of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.start()

    def refused(self, answer, status, code, *words):
        """That `answer` is this error, told to every generation of callers, in words that help."""
        self.assertEqual(answer.status, status, answer.text)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        body = answer.body
        self.assertEqual((body["status"], body["code"], body["success"]), (status, code, False))
        self.assertEqual(body["error"]["code"], code)
        self.assertEqual(body["detail"], body["error"]["message"])
        self.assertTrue(body["type"].endswith(code) and body["title"] and body["error"]["advice"], body)
        for word in words:
            self.assertIn(word, body["detail"])
        return body["error"]

    def fifo(self):
        """A named pipe by which an app's call is held until the test goes on."""
        folder = Path(tempfile.mkdtemp(prefix="fifo-", dir=self.folder))
        os.mkfifo(folder / "gate")
        gate = Gate(folder / "gate")
        self.addCleanup(gate.open)
        return gate


class Gate:
    """A named pipe that a call of the app `probe` reads: the test sees that the call runs, and lets it go on."""

    def __init__(self, path):
        self.path = str(path)
        self.file = None

    def wait_until_read(self):
        def opened():
            try:
                return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK), "w", buffering=1)
            except OSError:
                return None

        self.file = wait_for(opened, "a call that opens its gate")

    def write(self, line):
        self.file.write(line + "\n")

    def open(self):
        if self.file:
            self.file.close()


def stop_if_running(program):
    """Stops it, unless a test did."""
    if program.process is not None and program.process.poll() is None:
        program.stop()


def link_apps(folder):
    """Puts the project's apps and those of these tests into `folder`."""
    for app in [*SOURCE.glob("apps/*/app.toml"), *OWN_APPS.glob("*/app.toml")]:
        (folder / app.parent.name).symlink_to(app.parent)


def write_app(folder, name, program, manifest=""):
    """Makes an app of a Python program that brings its own protocol, or breaks it."""
    (folder / name).mkdir()
    (folder / name / "main.py").write_text(program)
    (folder / name / "app.toml").write_text(
        f'name = "{name}"\ncommand = ["/usr/bin/python3", "{{app}}/main.py"]\nfunctions = ["run"]\n{manifest}\n'
        f'[env]\nPYTHONPATH = "{SOURCE}/sdk/python"\n'
    )


def clean_environment():
    """This process's, without what a person set for Sojourn."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SOJOURN_")}


def command(*words, environment=None, **options):
    return subprocess.run([BINARY, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE, env=environment or clean_environment(), **options)


def wait_for_age(data, count):
    """Waits until so many sessions were over for a second, which is the least that a purge takes."""
    def old():
        told = command("purge", "--older-than", "1s", "--dry-run", "--json", "--data", data)
        return json.loads(told.stdout)["sessions"] == count

    wait_for(old, f"{count} sessions to be old enough")


def processes():
    """Each process of the machine: pid -> (parent, start time)."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (seen := process_status(int(entry))):
            found[int(entry)] = seen
    return found


def folder_of(pid):
    """The folder that a process is in; "" for one that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def process_status(pid):
    """(parent, start time) of a process; None for one that is gone or only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[19]))


def family_of(pid):
    all_processes = processes()
    family, parents = [], {pid}
    while parents:
        children = {child for child, (parent, _) in all_processes.items() if parent in parents}
        family += [(child, all_processes[child][1]) for child in children]
        parents = children
    return family


def is_alive(process):
    pid, start = process
    status = process_status(pid)
    return status is not None and status[1] == start


def _environment(pid):
    return _read(f"/proc/{pid}/environ")


def command_of(pid):
    """What it was started as; "" for a process that has ended."""
    return _read(f"/proc/{pid}/cmdline").replace(bytes(1), b" ").decode(errors="replace")


def _read(file):
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError:  # gone meanwhile, or another user's
        return b""
