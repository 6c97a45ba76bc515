"""Workers that do their worst: only their own session suffers, and nothing of them is left."""

import os
import unittest

from e2e.program import COMPLETED, FAILED, Served, link_apps, processes, wait_for, write_app

HEAD = '''
import array, ctypes, json, os, resource, shutil, signal, socket, struct, sys, time
server = socket.socket(fileno=3)
def read():
    head = server.recv(4, socket.MSG_WAITALL)
    if len(head) < 4: sys.exit(0)
    return json.loads(server.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
def frame(**fields):
    return raw(json.dumps(fields).encode())
def raw(text):
    return struct.pack(">I", len(text)) + text
def send(**fields): server.sendall(frame(**fields))
def hang():
    while True: time.sleep(1000)
HELLO = dict(type="hello", protocol=1, sdk="hostile/1", app="hostile", functions=["run"], capabilities=[])
'''

# At the start, instead of a hello or after it.
STARTS = {
    "mute": "hang()",
    "other-version": "read(); send(**{**HELLO, 'protocol': 2}); hang()",
    "garbage": "server.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); hang()",
    "half-hello": "server.sendall(frame(**HELLO)[:9]); server.close(); hang()",
    "two-hellos": "read(); server.sendall(frame(**HELLO) * 2); hang()",
    "two-readies": "read(); send(**HELLO); read(); server.sendall(frame(type='ready') * 2); hang()",
}

# In a call, which asks for one of these by name.
IN_CALL = HEAD + '''
def result(call, output=None, **more):
    send(type="result", request_id=call["request_id"], output=output, **more)
def garbage(call): server.sendall(raw(b"{oops")); hang()
def huge_length(call): server.sendall(b"\\x7f\\xff\\xff\\xff"); hang()
def huge_frame(call): result(call, "x" * (17 << 20)); hang()
def half_frame(call): server.sendall(frame(type="result", request_id=call["request_id"], output=1)[:20]); hang()
def half_frame_then_close(call):
    server.sendall(frame(type="result", request_id=call["request_id"], output=1)[:20]); server.close(); hang()
def second_result(call): result(call, 1); result(call, 2); hang()
def answer_to_no_call(call): send(type="result", request_id="task_x", output=1); hang()
def closes_socket(call): server.close(); hang()
def deep_json(call): server.sendall(raw(b'{"type":"result","output":' + b"[" * 100000 + b"]" * 100000 + b"}")); hang()
def duplicate_keys(call):
    server.sendall(raw(b'{"type":"result","output":1,"request_id":"x","output":2}')); hang()
def invalid_utf8(call):
    server.sendall(raw(b'{"type":"result","request_id":"' + call["request_id"].encode() + b'","output":"\\xff"}')); hang()
def unknown_type(call): send(type="dance"); hang()

def prints(what):
    with os.fdopen(os.dup(1), "wb", 0) as out:
        for _ in range(20): out.write(what)
def prints_lines(call): prints(b"a line that means nothing\\n" * 40000); result(call)
def prints_one_line(call): prints(b"x" * (1 << 20)); result(call)
def prints_bytes(call): prints(bytes(range(256)) * 4096); result(call)
def floods_logs(call):
    for n in range(20000): send(type="log", level="info", message="line", fields={"n": n}, request_id=call["request_id"])
    result(call)
def floods_heavy_logs(call):
    for n in range(200): send(type="log", level="info", message="x" * 200000, request_id=call["request_id"])
    result(call)
def floods_partials(call):
    for n in range(20000): send(type="progress", request_id=call["request_id"], output={"n": n, "pad": "x" * 1000})
    result(call)
def floods_notes(call):
    for n in range(3000):
        send(type="resource", op="add", id="r", kind="thing", cleanup={"path": "/nowhere"})
        send(type="resource", op="release", id="r")
    result(call)
def floods_events(call):
    result(call, events=[{"type": "a.b", "data": {}}] * 1001)

def ignores_term(call):
    signal.signal(signal.SIGTERM, signal.SIG_IGN); hang()
def stops_itself(call): os.kill(os.getpid(), signal.SIGSTOP); hang()
def kills_its_group(call): os.killpg(0, signal.SIGKILL)
def leaves_daemons(call):
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid(); server.close(); os.execve("/bin/sleep", ["sleep", "1000"], {})
            os._exit(0)
    result(call)
def leaves_zombies(call):
    for _ in range(50):
        if os.fork() == 0: os._exit(0)
    result(call)
def forks_without_end(call):
    made = 0
    while made < 200:
        if os.fork() == 0: hang()
        made += 1
    result(call, made)

def fills_disk(call):
    try:
        with open("file", "wb", 0) as file:
            for _ in range(64): file.write(bytes(1 << 20))
    except OSError as error: result(call, error.errno)
def eats_memory(call):
    kept = []
    try:
        while True: kept.append(bytearray(16 << 20))
    except MemoryError: pass
    eaten = len(kept); kept.clear(); result(call, eaten)
def changes_limits(call):
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
        try: resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError): pass  # only root may raise a hard limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
    os.nice(10)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what it leaves is not the supervisor's
    if os.fork() == 0:
        if os.fork() == 0: hang()
        os._exit(0)
    result(call)
def closes_descriptors(call): os.closerange(0, 4); hang()
def removes_its_folder(call):
    folder = os.getcwd(); os.chdir("/"); shutil.rmtree(folder); result(call, os.path.exists(folder))
def sends_descriptors(call):
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    ping = frame(type="ping", n=1)
    for _ in range(50): server.sendmsg([ping], rights)
    for _ in range(50): read()
    result(call)

read(); send(**HELLO); read(); send(type="ready")
while True:
    call = read()
    if call["type"] == "close": send(type="closed", failures=[]); sys.exit(0)
    if call["type"] == "call": globals()[call["input"]](call)
'''

LIMITS = "[limits]\nmemory_mb = 400\nfile_size_mb = 2\n"


class HostileWorkers(Served):
    @classmethod
    def make_apps(cls, folder):
        link_apps(folder)
        write_app(folder, "hostile", IN_CALL, "recover = true\n" + LIMITS)
        for name, program in STARTS.items():
            write_app(folder, name, HEAD + program)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.healthy = cls.server.new_session("counter", session_timeout=3600)
        cls.calls = 0
        cls.call_healthy()
        cls.family = {pid for pid, _ in cls.server.family()}
        cls.descriptors = cls.open_descriptors()

    @classmethod
    def call_healthy(cls):
        """One call of the session beside the hostile one; each is served, once and in order."""
        output = cls.server.output("counter", "increment", {"key": "a"}, session=cls.healthy)
        cls.calls += 1
        if output["current"] != cls.calls:
            raise AssertionError(f"call {cls.calls} counted {output}")

    @classmethod
    def open_descriptors(cls):
        """How many the server and its supervisor have, but for the connections of this test."""
        server = cls.server.process.pid
        supervisor = next(pid for pid, (parent, _) in processes().items() if parent == server)
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (server, supervisor))

    def served_beside(self, app, does=None, **fields):
        """The final task of a call of a hostile app, beside which the healthy session is served, and in the end
        nothing of the hostile one is left."""
        task = self.server.run(app, input=does, wait=False, **fields)
        served = 0
        while served < 10 or self.server.task(task["id"])["status"] < COMPLETED:
            self.call_healthy()
            served += 1
        task = self.server.task(task["id"])
        self.session_id = task["session_id"]
        self.while_it_lives(task)
        if self.server.session(self.session_id)["status"] == "active":
            self.server.delete(f"/sessions/{self.session_id}")
        self.call_healthy()
        wait_for(lambda: {pid for pid, _ in self.server.family()} <= self.family,
                 "the end of what a hostile worker started")
        wait_for(lambda: self.open_descriptors() <= self.descriptors, "the end of its descriptors in the server")
        return task

    def while_it_lives(self, task):
        """What a test looks at before the hostile session is ended."""

    def fails(self, app, does, code, *words, **fields):
        task = self.served_beside(app, does, **fields)
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, code), task["error"])
        for word in words:
            self.assertIn(word, task["error"])

    def completes(self, does, **fields):
        task = self.served_beside("hostile", does, **fields)
        self.assertEqual(task["status"], COMPLETED, task.get("error"))
        return task["output"]

    def journal(self):
        return self.server.events(self.session_id)

    # At the start.

    def test_never_says_hello(self):
        self.fails("mute", None, "worker_start_failed", "did not say hello", call_timeout=1)

    def test_speaks_another_version(self):
        self.fails("other-version", None, "protocol_error", "version 2")

    def test_greets_with_garbage(self):
        self.fails("garbage", None, "protocol_error")

    def test_says_half_a_hello(self):
        self.fails("half-hello", None, "worker_start_failed")

    def test_greets_twice(self):
        self.fails("two-hellos", None, "protocol_error", "hello")

    def test_is_ready_twice(self):
        self.fails("two-readies", None, "protocol_error", "ready")

    # Frames in a call.

    def test_sends_garbage(self):
        self.fails("hostile", "garbage", "protocol_error")

    def test_announces_a_frame_over_the_limit(self):
        self.fails("hostile", "huge_length", "protocol_error", "at most 16777216")

    def test_sends_a_frame_over_the_limit(self):
        self.fails("hostile", "huge_frame", "protocol_error", "at most 16777216")

    def test_sends_half_a_frame_and_then_nothing(self):
        self.fails("hostile", "half_frame", "call_timeout", call_timeout=1)

    def test_sends_half_a_frame_and_closes(self):
        self.fails("hostile", "half_frame_then_close", "WORKER_LOST", "closed its connection")

    def test_answers_twice(self):
        self.assertEqual(self.completes("second_result"), 1)
        self.assertIn("worker.lost", [event["type"] for event in self.journal()])

    def test_answers_a_call_that_nobody_made(self):
        self.fails("hostile", "answer_to_no_call", "protocol_error", "does not run")

    def test_closes_its_socket_and_lives_on(self):
        self.fails("hostile", "closes_socket", "WORKER_LOST", "closed its connection")

    def test_sends_json_that_is_too_deep(self):
        self.fails("hostile", "deep_json", "protocol_error")

    def test_sends_duplicate_keys(self):
        self.fails("hostile", "duplicate_keys", "protocol_error", "output")

    def test_sends_invalid_utf8(self):
        self.fails("hostile", "invalid_utf8", "protocol_error")

    def test_sends_an_unknown_frame(self):
        self.fails("hostile", "unknown_type", "protocol_error", "dance")

    # Floods: the bound holds, and the journal says what was left out.

    def kept_log_lines(self, commits=1):
        events = self.journal()
        lines = [event for event in events if event["type"] == "log"]
        self.assertLessEqual(len(lines), commits * 1000)
        return lines, sum(event["data"]["lines"] for event in events if event["type"] == "log.cut")

    def test_prints_megabytes_of_lines(self):
        self.completes("prints_lines")
        # Those that were read after the answer, a pipe full of them, go into further commits.
        lines, cut = self.kept_log_lines(commits=4)
        self.assertGreater(len(lines) + cut, 1000)

    def test_prints_megabytes_without_a_newline(self):
        self.completes("prints_one_line")
        lines, _ = self.kept_log_lines()
        self.assertEqual([(len(line["data"]["message"]), line["data"]["fields"]) for line in lines],
                         [(8192, {"cut": True})])

    def test_prints_megabytes_of_bytes(self):
        self.completes("prints_bytes")
        self.kept_log_lines(commits=2)

    def test_floods_log_lines(self):
        self.completes("floods_logs")
        lines, cut = self.kept_log_lines()
        self.assertEqual(len(lines) + cut, 20000)
        self.assertGreater(cut, 18000)

    def test_floods_heavy_log_lines(self):
        self.completes("floods_heavy_logs")
        lines, cut = self.kept_log_lines()
        self.assertEqual(len(lines) + cut, 200)
        self.assertLessEqual(sum(len(line["data"]["message"]) for line in lines), 8 << 20)

    def test_floods_partial_outputs(self):
        self.completes("floods_partials")

    def test_floods_notes_of_resources(self):
        self.completes("floods_notes")

    def test_records_more_events_than_a_commit_holds(self):
        self.fails("hostile", "floods_events", "too_large")

    # Processes.

    def test_ignores_term(self):
        self.fails("hostile", "ignores_term", "call_timeout", call_timeout=1)

    def test_stops_itself(self):
        self.fails("hostile", "stops_itself", "call_timeout", call_timeout=1)

    def test_kills_its_own_group(self):
        self.fails("hostile", "kills_its_group", "WORKER_LOST", "SIGKILL")

    def test_leaves_daemons(self):
        self.completes("leaves_daemons")

    def test_leaves_zombies(self):
        self.completes("leaves_zombies")

    def test_forks_many(self):
        self.assertEqual(self.completes("forks_without_end"), 200)

    # What it was given.

    def test_fills_the_disk_up_to_its_limit(self):
        self.assertEqual(self.completes("fills_disk"), 27)  # EFBIG

    def test_eats_memory_up_to_its_limit(self):
        self.assertLess(self.completes("eats_memory"), 400 // 16)

    def test_changes_its_own_limits(self):
        self.completes("changes_limits")

    def test_closes_the_descriptors_it_was_given(self):
        self.fails("hostile", "closes_descriptors", "WORKER_LOST", "closed its connection")

    def test_removes_its_folder(self):
        self.assertFalse(self.completes("removes_its_folder"))

    def test_sends_descriptors_that_nobody_asked_for(self):
        def nothing_was_kept(_):
            # A live worker costs the server three, and the supervisor none.
            self.assertLessEqual(self.open_descriptors(), self.descriptors + 6)

        self.while_it_lives = nothing_was_kept
        self.completes("sends_descriptors")


if __name__ == "__main__":
    unittest.main()
