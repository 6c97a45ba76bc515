"""What the clients do with sessions, and what they were answered."""

import collections
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import struct
import threading
from datetime import datetime, timedelta, timezone

from e2e.program import CANCELLED, COMPLETED, FAILED, PATIENCE, RUNNING, processes, wait_for

COLD, FORKED, NODE, NATIVE, NATIVE_FORKED = (
    "tests/cold", "tests/forked", "tests/node", "tests/native", "tests/native-forked")
APPS = (COLD, FORKED, NODE, NATIVE, NATIVE_FORKED)

# With what a call may fail wherever a worker may be killed.
LOST = ("WORKER_LOST", "worker_start_failed")
GONE = (OSError, http.client.HTTPException)


class Life:
    """A session from its creation to its end, as its one client knows it."""

    def __init__(self, load, app, choices):
        self.load, self.server, self.app, self.random = load, load.server, app, choices
        self.id = None
        self.over = False  # it may be over: a call may be refused
        self.short = False  # it may expire at any time
        self.answered = {}  # task -> (its status, its output or error code), where a client was told
        self.unknown = 0  # calls of which no client was told
        self.hooked = set()  # tasks whose end is told by webhook

    def __str__(self):
        return f"session {self.id} of {self.app}"

    # Its course.

    def live(self):
        begin, end = self.random.choice(BEGINNINGS), self.random.choice(ENDS)
        self.short = end in (Life.expires, Life.expires_asleep)
        self.do(begin)
        for _ in range(self.random.randrange(1, 7)):
            if not self.over and self.id is not None:
                self.do(self.choose_step())
        if self.id is not None:
            self.do(Life.is_deleted if self.over else end)

    def choose_step(self):
        """What nobody did yet comes first, so that a short run does everything."""
        steps = [step for step in STEPS if self.app not in NOT_OF.get(step, ())]
        new = [step for step in steps if not self.load.did[step.__name__]]
        return self.random.choice(new) if new else self.random.choices(steps, [STEPS[step] for step in steps])[0]

    def do(self, step):
        step(self)
        self.load.did[step.__name__] += 1

    # Beginnings.

    def created(self):
        fields = {"session_timeout": self.random.choice([1, 2])} if self.short else {}
        self.take(self.server.post("/sessions", {"app": self.app, **fields}).data["id"])

    def run_as_new(self):
        fields = {"session_timeout": self.random.choice([1, 2])} if self.short else {}
        answer = self.server.ask_run(self.app, "count", session="new", **fields)
        self.take(answer.data["session_id"])
        self.note(answer.data)

    def run_without_one(self):
        """A call with a session of its own, which is over with it."""
        answer = self.server.ask_run(self.app, "count", session=None)
        self.take(answer.data["session_id"])
        self.note(answer.data)
        self.over = True

    def left_before_the_answer(self):
        """Nobody knows the session, if there is one: it expires."""
        self.load.left += 1
        self.leave_a_call(session=self.random.choice(["new", None]), session_timeout=1)

    def take(self, id):
        self.id = id
        self.load.lives[id] = self

    # Steps.

    def counts(self):
        self.call("count")

    def fails(self):
        self.call("fail", allowed=("app_error",))

    def streams(self):
        """Follows a call to its end, or leaves within."""
        task = self.call("stream", {"times": self.random.choice([0, 1, 10, 300])}, wait=False)
        if task is None:
            return
        lines = self.follow(task, leave=self.random.random() < 0.4)
        if lines is not None:
            self.note(lines[-1])

    def leaves_within_a_call(self):
        self.unknown += 1
        self.leave_a_call(session=self.id)

    def leaves_within_a_request(self):
        """The call is not taken in."""
        self.leave("POST", "/apps/run", {"app": self.app, "session": self.id, "input": "x" * 5000}, part=0.5)

    def queues(self):
        """Several calls wait at once; some are cancelled in their place."""
        tasks = [self.call("count", wait=False) for _ in range(4)]
        for task in filter(None, tasks):
            if self.random.random() < 0.3:
                self.cancel(task)
        for task in filter(None, tasks):
            self.settle(task)

    def is_cancelled(self):
        self.cancelled("until_cancelled")

    def does_not_hear_a_cancel(self):
        self.cancelled("deaf")

    def is_too_late(self):
        task = self.call("until_cancelled", wait=False, call_timeout=1)
        if task is not None:
            self.settle(task, allowed=("call_timeout",))

    def cancelled(self, function):
        task = self.call(function, wait=False)
        if task is None:
            return
        status = wait_for(lambda: (seen := self.server.task(task)["status"]) >= RUNNING and seen, f"{task} to run")
        if status == RUNNING and self.random.random() < 0.5:
            self.follow(task, leave=True, lines=1)
        self.cancel(task)
        self.settle(task)

    def is_put_off(self):
        """A call is made later, or cancelled before its time; the session stays for it however short it is."""
        later = datetime.now(timezone.utc) + timedelta(seconds=self.random.choice([0.1, 0.5, 1.5]))
        task = self.call("count", wait=False, run_at=later.isoformat())
        if task is None:
            return
        if self.random.random() < 0.3:
            self.cancel(task)
        self.settle(task)

    def tells_its_end(self):
        task = self.call("count", webhook=self.load.receiver.url())
        if task is not None:
            self.hooked.add(task["id"])

    def is_kept_alive(self):
        answer = self.server.post(f"/sessions/{self.id}/keepalive")
        if answer.status != 200:
            self.refused(answer)

    def has_its_state_written(self):
        answer = self.server.ask("PUT", f"/sessions/{self.id}/state/note", self.random.randrange(1000))
        if answer.status != 204:
            self.refused(answer)

    def copies_a_file(self):
        """Uploads one, after a client that left within that; has it copied; fetches the copy."""
        content = self.random.randbytes(self.random.choice([0, 10, 100_000]))
        ticket = self.server.post("/files", {"files": [{"filename": "file", "size": len(content)}]}).data[0]
        path = ticket["upload_url"].removeprefix(self.server.url)
        if content and self.random.random() < 0.3:
            self.leave("PUT", path, content, part=0.5)
        # One that left may not be forgotten yet.
        wait_for(lambda: (answer := self.server.ask("PUT", path, content)).status != 409 and answer.data, "an upload")
        task = self.call("copy_file", {"file": ticket["uri"]})
        if task is not None and task["status"] == COMPLETED:
            sha256 = hashlib.sha256(content).hexdigest()
            found = (task["output"]["sha256"], self.fetched(task["output"]["copy"]["file"]["uri"]))
            if found != (sha256, sha256):
                raise AssertionError(f"{self}: {content[:20]} ... became {task}")
        self.server.delete(f"/files/{ticket['id']}")

    def acquires(self):
        self.call("acquire")

    def leaves_daemons(self):
        self.call("leave_daemons", {"mark": self.load.mark})

    def sleeps(self):
        """Until it is asleep; the next call wakes it."""
        if self.short:
            return
        self.call("count")
        wait_for(lambda: self.server.session(self.id)["asleep"], f"{self} to fall asleep")
        self.call("count")

    def loses_its_worker(self):
        """Idle, or in a call."""
        task = self.call("pause", {"seconds": 0.05}, wait=False) if self.random.random() < 0.5 else None
        worker = self.server.session(self.id).get("worker_id")
        if worker is not None:
            self.load.kill(int(worker.removeprefix("pid-")))
        if self.app == NODE:
            self.over = True
        if task is not None:
            self.settle(task)

    def loses_any_process(self):
        self.load.kill_any(self.random)

    # Ends.

    def is_deleted(self):
        answer = self.server.delete(f"/sessions/{self.id}")
        if answer.status != 204:
            self.refused(answer)

    def ends_itself(self):
        task = self.call("end")
        if task is not None and task["status"] != COMPLETED:
            self.is_deleted()  # its worker was killed

    def expires(self):
        """It is left alone, which its short time-out is for."""

    def expires_asleep(self):
        """The same. It sleeps after a second, which is before, or about when, it expires."""

    # Words.

    def call(self, function, input=None, wait=True, allowed=(), **fields):
        """The task of a call that is waited for, or the id of one that was taken in; None where it was not."""
        answer = self.server.ask_run(self.app, function, input, session=self.id, wait=wait, **fields)
        if answer.status != 200:
            return self.refused(answer)
        if not wait:
            self.answered[answer.data["id"]] = None
            return answer.data["id"]
        return self.note(answer.data, allowed)

    def refused(self, answer):
        """That it is over is the only reason."""
        code = answer.body["code"]
        if (code == "SESSION_EXPIRED" and self.short) or (code == "WORKER_LOST" and self.app == NODE) or (
                code == "SESSION_ENDED" and self.over):
            self.over = True
            return None
        raise AssertionError(f"{self} was refused: {answer.text.decode()}")

    def note(self, task, allowed=()):
        """A task that is over."""
        status = task["status"]
        code = task["error_info"]["code"] if status in (FAILED, CANCELLED) else None
        self.answered[task["id"]] = (status, code or task["output"]["n"])
        if status == FAILED and code in LOST and self.app == NODE:
            self.over = True
        if status not in (COMPLETED, FAILED, CANCELLED) or status == FAILED and code not in (*LOST, *allowed):
            raise AssertionError(f"{self}: {task}")
        return task

    def settle(self, task, allowed=()):
        return self.note(self.server.final_task(task), allowed)

    def cancel(self, task):
        answer = self.server.post(f"/tasks/{task}/cancel")
        if answer.status != 200:
            raise AssertionError(f"{self}: no cancel: {answer.text.decode()}")

    def follow(self, task, leave, lines=3):
        """The lines of a task's stream, or nothing where the client leaves after some, of which there are so many."""
        with self.server.stream(task, self.random.choice(["application/x-ndjson", "text/event-stream"])) as stream:
            if leave:
                for _ in range(self.random.randrange(lines + 1)):
                    if stream.next() is None:
                        break
                return None
            return list(stream)

    def fetched(self, uri):
        connection = self.server.connection()
        try:
            connection.request("GET", uri)
            return hashlib.sha256(connection.getresponse().read()).hexdigest()
        finally:
            connection.close()

    def leave_a_call(self, **fields):
        body = {"app": self.app, "function": "pause", "input": {"seconds": 0.02}, "wait": True, **fields}
        self.leave("POST", "/apps/run", body)

    def leave(self, method, path, body, part=1.0):
        """A client that sends a request, or the first part of it, and is gone, one way or the other."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = (f"{method} {path} HTTP/1.1\r\nHost: {self.server.host}\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as client:
            client.sendall(request if part == 1 else request[:len(request) - int(len(body) * part) - 1])
            if self.random.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as one that died


BEGINNINGS = (Life.created, Life.created, Life.run_as_new, Life.run_without_one, Life.left_before_the_answer)
# Those that take seconds are seldom, for a client does nothing else meanwhile.
STEPS = {
    Life.counts: 12, Life.fails: 4, Life.streams: 10, Life.leaves_within_a_call: 4, Life.leaves_within_a_request: 3,
    Life.queues: 4, Life.is_cancelled: 6, Life.does_not_hear_a_cancel: 0.3, Life.is_too_late: 0.3,
    Life.is_put_off: 2, Life.tells_its_end: 4, Life.is_kept_alive: 4, Life.has_its_state_written: 4, Life.copies_a_file: 6, Life.acquires: 6,
    Life.leaves_daemons: 4, Life.sleeps: 0.5, Life.loses_its_worker: 4, Life.loses_any_process: 1,
}
# What an app does not do: another way to fork, and to sleep where a session is lost with its worker.
NOT_OF = {Life.leaves_daemons: (NODE, NATIVE, NATIVE_FORKED), Life.sleeps: (NODE,)}
ENDS = (Life.is_deleted, Life.is_deleted, Life.ends_itself, Life.expires, Life.expires_asleep)
EVERYTHING = {step.__name__ for step in (*BEGINNINGS, *STEPS, *ENDS)}


class Load:
    """Clients that live one life after the other."""

    def __init__(self, server, choices, mark, receiver):
        self.server, self.random, self.mark, self.receiver = server, choices, mark, receiver
        self.did = collections.Counter()  # about: the clients count without a lock
        self.lives = {}  # of the sessions that were not looked at yet, by id
        self.left = 0  # sessions that no client knows, at most
        self.parents = ()  # that workers are forked from, and that are not killed by chance

    def run(self, clients, goes_on):
        """Has so many clients live until `goes_on` says no, and raises what went wrong with one."""
        self.errors = []
        threads = [threading.Thread(target=self.client, args=(random.Random(self.random.random()), goes_on))
                   for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in self.errors:
            raise error

    def client(self, choices, goes_on):
        while goes_on() and not self.errors:
            life = Life(self, choices.choice(APPS), choices)
            try:
                life.live()
            except Exception as error:
                error.add_note(str(life))
                self.errors.append(error)

    # Kills.

    def supervisor(self):
        return next((pid for pid, (parent, _) in processes().items() if parent == self.server.process.pid), None)

    def kill_any(self, choices):
        """A worker of any session, one that starts or waits, or what one has left."""
        supervisor = self.supervisor()
        children = [pid for pid, (parent, _) in processes().items()
                    if parent == supervisor and pid not in self.parents]
        if children:
            self.kill(choices.choice(children))

    def kill(self, pid):
        """Only a child of the supervisor: by now the id may be another's."""
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if processes().get(pid, (None,))[0] == self.supervisor():
                signal.pidfd_send_signal(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(process)
