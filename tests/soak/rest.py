"""What is there of a server that serves nothing: its processes, their descriptors, threads and memory, its files, and
what it says of itself. What is there too much is named.
"""

import collections
import http.client
import json
import os
import re
import time
from pathlib import Path

from e2e.program import PATIENCE, family_of, processes

SERIES = re.compile(r"^(sojourn_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Line:
    """One connection that is kept, so that asking a server what it has open opens nothing."""

    def __init__(self, server):
        self.server = server
        self.connection = None

    def get(self, path):
        """Headers and body."""
        for fresh in (False, True):  # one that was idle for long may be closed by now
            if self.connection is None or fresh:
                self.close()
                self.connection = self.server.connection()
            try:
                self.connection.request("GET", path)
                response = self.connection.getresponse()
                body = response.read().decode()
                break
            except (OSError, http.client.HTTPException):
                if fresh:
                    raise
        if response.status != 200:
            raise AssertionError(f"GET {path}: {response.status} {body}")
        return response.headers, body

    def data(self, path):
        return json.loads(self.get(path)[1])["data"]

    def close(self):
        if self.connection is not None:
            self.connection.close()


class Metrics:
    """What /metrics says."""

    def __init__(self, text):
        self.series = [(name, dict(LABEL.findall(labels)), float(value))
                       for name, labels, value in SERIES.findall(text)]

    def of(self, name, *labels):
        """The values of a family that are not 0, by those labels."""
        found = collections.Counter()
        for other, given, value in self.series:
            if other == name and value:
                found[tuple(given.get(label, "") for label in labels)] += value
        return found


class Rest:
    """A server of which `pools` says how many spares each app that is forked or kept warm shall have."""

    def __init__(self, server, pools, mark, temporary):
        self.server, self.pools, self.mark, self.temporary = server, pools, mark, Path(temporary)
        self.line = Line(server)
        self.descriptors = None  # of each process that stays, as few as there were at a rest
        self.threads = None
        self.beside = None  # what lies in the data folder beside sessions and files

    def wait(self):
        """Waits until nothing is there too much, and says what is when that does not come."""
        deadline = time.monotonic() + 2 * PATIENCE  # a pool whose spares were killed pauses before it replaces them
        while findings := self.findings():
            if time.monotonic() > deadline:
                raise AssertionError("no rest:\n" + "\n".join(findings))
            time.sleep(0.05)
        if self.descriptors is not None:
            self.forget_what_is_gone()

    def remember(self):
        """From here on the processes that are there now stay, and have no more descriptors and threads than now."""
        self.pids = self.lasting()
        self.descriptors = {name: descriptors_of(pid) for name, pid in self.pids.items()}
        self.threads = {name: threads_of(pid) for name, pid in self.pids.items()}
        self.beside = set(self.names_beside())

    def forget_what_is_gone(self):
        """What was remembered may have been on its way out: nothing tells when a server has closed the last folder."""
        for name, pid in self.pids.items():
            self.descriptors[name] &= descriptors_of(pid)
            self.threads[name] = min(self.threads[name], threads_of(pid))
        self.beside &= set(self.names_beside())

    def findings(self):
        return [*self.gauges(), *self.processes(), *self.zombies(), *self.open_descriptors(), *self.running_threads(),
                *self.files(), *self.groups()]

    # Who is there.

    def lasting(self):
        """The processes that stay: name -> id."""
        found = {"server": self.server.process.pid, "supervisor": self.supervisor()}
        for app in self.pools:
            if parent := self.workers_of(app).get("parent"):
                found[f"parent of {app}"] = parent
        return found

    def supervisor(self):
        return next((pid for pid, (parent, _) in processes().items() if parent == self.server.process.pid), None)

    def workers_of(self, app):
        return self.line.data(f"/apps/{app}").get("workers", {})

    def metrics(self):
        return Metrics(self.line.get("/metrics")[1])

    def gauges(self):
        metrics = self.metrics()
        for name in ("sojourn_sessions_live", "sojourn_sessions_busy", "sojourn_calls_waiting", "sojourn_workers"):
            for (app,), number in metrics.of(name, "app").items():
                yield f"{name} of {app} is {number:.0f}"
        for name in ("sojourn_calls_scheduled", "sojourn_webhooks_open"):
            if number := metrics.of(name)[()]:
                yield f"{name} is {number:.0f}"
        for session in self.line.data("/sessions?status=active"):  # it may sleep
            yield f"{session['id']} of {session['app_id']} is active"
        spares = {app: int(number) for (app,), number in metrics.of("sojourn_workers_spare", "app").items()}
        if spares != {app: number for app, number in self.pools.items() if number}:
            yield f"spares: {spares}"
        connections = metrics.of("sojourn_http_connections")[()]
        if connections != 1:
            yield f"connections: {connections:.0f}, one of them this one"

    def processes(self):
        lasting = self.lasting()
        if self.descriptors is not None and lasting != self.pids:
            yield f"other processes: {lasting} were {self.pids}"
        others = [pid for pid, _ in family_of(self.server.process.pid) if pid not in lasting.values()]
        if len(others) != self.waiting():
            yield f"processes beside {lasting} are not {self.waiting()}: {[describe(pid) for pid in others]}"
        for pid in processes():
            if arguments_of(pid)[0] == self.mark:
                yield f"what a worker started lives on: {pid}"

    def zombies(self):
        parents = set(self.lasting().values())
        for entry in os.listdir("/proc"):
            fields = read(f"/proc/{entry}/stat").rpartition(")")[2].split() if entry.isdigit() else []
            if fields and fields[0] == "Z" and int(fields[1]) in parents:
                yield f"{entry} is dead, and its parent {fields[1]} does not look"

    def waiting(self):
        """How many processes wait for a session: the spares, and one fork that each parent makes ahead."""
        return sum(self.pools.values()) + len(self.pools)

    # What they hold.

    def open_descriptors(self):
        for name, pid in self.lasting().items() if self.descriptors is not None else ():
            if more := descriptors_of(pid) - self.descriptors.get(name, collections.Counter()):
                yield f"descriptors of {name}: more by {dict(more)}"

    def running_threads(self):
        for name, pid in self.lasting().items() if self.threads is not None else ():
            if threads_of(pid) > self.threads.get(name, 0):
                yield f"threads of {name}: {threads_of(pid)}, were {self.threads.get(name)}"

    def memory(self):
        """Bytes of each process that stays: the pages that are its own, for those of files come and go."""
        found = {}
        for name, pid in self.lasting().items():
            status = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB$", read(f"/proc/{pid}/status"), re.MULTILINE))
            found[name] = 1024 * (int(status["RssAnon"]) + int(status["RssShmem"]))
        return found

    # What lies about.

    def names_beside(self):
        return [name for name in os.listdir(self.server.data) if name not in ("sessions", "files")]

    def files(self):
        if self.beside is not None and (more := set(self.names_beside()) - self.beside):
            yield f"in the data folder: {sorted(more)} beside {sorted(self.beside)}"
        for path in self.temporary.iterdir():
            yield f"a temporary file: {path}"
        for path in (self.server.data / "files").glob("*.new"):
            yield f"a file that is half made: {path}"

    def groups(self):
        """Control groups of workers, where they have some: one for each process that waits or is forked from."""
        folder = self.group_of_workers()
        workers = [path.name for path in folder.iterdir() if path.is_dir()] if folder else []
        if folder and len(workers) != len(self.lasting()) - 2 + sum(self.pools.values()):
            yield f"control groups in {folder}: {workers}"

    def group_of_workers(self):
        """The folder that has the control groups of this server's workers."""
        mounts = re.findall(r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 ", read("/proc/self/mountinfo"), re.MULTILINE)
        for name, pid in self.lasting().items():
            own = re.search(r"^0::(.*)$", read(f"/proc/{pid}/cgroup"), re.MULTILINE)
            for root, mount in mounts if own and name.startswith("parent") else ():
                folder = (Path(mount) / os.path.relpath(own[1], root)).parent
                if folder.name.startswith("sojourn-") and folder.is_dir():
                    return folder
        return None


def descriptors_of(pid):
    """What each descriptor of a process leads to, without the numbers that make each a thing of its own."""
    found = collections.Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[re.sub(r":\[\d+\]$", "", os.readlink(f"/proc/{pid}/fd/{name}"))] += 1
        except OSError:
            pass  # closed meanwhile
    return found


def threads_of(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def arguments_of(pid):
    return read(f"/proc/{pid}/cmdline").split("\0")


def describe(pid):
    return f"{pid} {' '.join(arguments_of(pid))}"


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
