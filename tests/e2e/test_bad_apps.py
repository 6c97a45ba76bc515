"""Apps that are broken: each says how, and every other app is served."""

import unittest

from e2e.program import FAILED, Served, link_apps, process_status, write_app

SPEAK = '''
import json, os, socket, struct, sys
server = socket.socket(fileno=3)
def read():
    head = server.recv(4, socket.MSG_WAITALL)
    return json.loads(server.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)) if head else sys.exit(0)
def send(**frame):
    text = json.dumps(frame).encode()
    server.sendall(struct.pack(">I", len(text)) + text)
read()
send(type="hello", protocol=1, sdk="test/1", app="x", functions=["run"], capabilities=[])
read()
'''


class BadApps(Served):
    @classmethod
    def make_apps(cls, folder):
        link_apps(folder)
        write_app(folder, "exits-at-start",
                  "import sys; print('out'); print('no licence found', file=sys.stderr); sys.exit(7)")
        write_app(folder, "killed-at-start", "import os; os.kill(os.getpid(), 9)")
        write_app(folder, "never-says-hello", "import time; time.sleep(1000)", "call_timeout = 1")
        write_app(folder, "setup-raises", "from sojourn import App, serve\nclass A(App):\n  def setup(self):\n"
                  "    raise OSError('no model here')\n  def run(self): pass\nserve(A)")
        write_app(folder, "setup-hangs", "from sojourn import App, serve\nimport time\nclass A(App):\n"
                  "  def setup(self):\n    time.sleep(1000)\n  def run(self): pass\nserve(A)", "call_timeout = 1")
        write_app(folder, "speaks-nonsense",
                  "import os; os.write(3, b'\\x00\\x00\\x00\\x04abcd'); import time; time.sleep(1000)")
        write_app(folder, "other-protocol", SPEAK.replace("protocol=1", "protocol=99"))
        write_app(folder, "breaks-protocol-in-call",
                  SPEAK + "send(type='ready')\nread()\nsend(type='saved')\nimport time; time.sleep(1000)")
        write_app(folder, "answers-another-call",
                  SPEAK + "send(type='ready')\nread()\nsend(type='result', request_id='task_x', output=1)\nread()")
        write_app(folder, "sends-nan", SPEAK + "send(type='ready')\ncall = read()\n"
                  "send(type='result', request_id=call['request_id'], output=float('nan'))\nread()")
        write_app(folder, "floods",
                  SPEAK + "send(type='ready')\nread()\nserver.sendall(b'\\x7f\\xff\\xff\\xff')\nread()")
        write_app(folder, "no-program", "")
        (folder / "no-program" / "app.toml").write_text(
            'name = "no-program"\ncommand = ["/no/such/program"]\nfunctions = ["run"]\n')
        write_app(folder, "refuses-to-close", SPEAK + "send(type='ready')\nimport signal, time\n"
                  "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ncall = read()\n"
                  "send(type='result', request_id=call['request_id'], output=os.getpid())\n"
                  "while True: time.sleep(1000)")
        cls.broken = {
            "not-toml": "name = ",
            "no-command": 'name = "x"\nfunctions = ["run"]\n',
            "bad-timeout": 'name = "x"\ncommand = ["x"]\nfunctions = ["run"]\nsession_timeout = 3601\n',
            "unknown-key": 'name = "x"\ncommand = ["x"]\nfunctions = ["run"]\nsesion_timeout = 60\n',
            "bad-name": 'name = "../x"\ncommand = ["x"]\nfunctions = ["run"]\n',
            "second-counter": 'name = "counter"\ncommand = ["x"]\nfunctions = ["run"]\n',
        }
        for name, manifest in cls.broken.items():
            (folder / name).mkdir()
            (folder / name / "app.toml").write_text(manifest)
        (folder / "no-manifest").mkdir()
        (folder / "no-manifest" / "main.py").write_text("")
        (folder / "a-file").write_text("")

    def tearDown(self):
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"})["current"], 1)

    def fails(self, app, code, *words, **fields):
        """The error of a call that fails; its session has no worker left."""
        task = self.server.run(app, **fields)
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, code), task["error"])
        for word in words:
            self.assertIn(word, task["error"])
        self.assertNotIn("worker_id", self.server.session(task["session_id"]))
        return task["error_info"]

    def test_worker_that_exits_at_start(self):
        error = self.fails("exits-at-start", "worker_start_failed", "exits-at-start", "exited", "7")
        self.assertIn("no licence found", error["details"]["stderr"])

    def test_worker_that_is_killed_at_start(self):
        self.fails("killed-at-start", "worker_start_failed", "killed-at-start", "killed by SIGKILL")

    def test_worker_that_never_says_hello(self):
        self.fails("never-says-hello", "worker_start_failed", "never-says-hello", "did not say hello in time")

    def test_program_that_is_not_there(self):
        self.fails("no-program", "worker_start_failed", "/no/such/program", "No such file")

    def test_setup_that_raises(self):
        error = self.fails("setup-raises", "app_error", "no model here")
        self.assertEqual(error["details"]["type"], "OSError")
        self.assertIn("no model here", error["details"]["traceback"])

    def test_setup_that_hangs(self):
        self.fails("setup-hangs", "worker_start_failed", "setup did not end in time")

    def test_worker_that_exits_in_a_call(self):
        error = self.fails("tests/probe", "WORKER_LOST", "exited", "5", function="leave", input={"code": 5})
        self.assertIn("last words", error["details"]["stderr"])

    def test_worker_that_exits_with_0_in_a_call(self):
        self.fails("tests/probe", "WORKER_LOST", "exited", "0", function="leave", input={"code": 0})

    def test_worker_that_speaks_nonsense(self):
        self.fails("speaks-nonsense", "protocol_error")

    def test_worker_of_another_protocol(self):
        self.fails("other-protocol", "protocol_error", "99")

    def test_worker_that_breaks_the_protocol_in_a_call(self):
        self.fails("breaks-protocol-in-call", "protocol_error", "saved")
        self.fails("answers-another-call", "protocol_error", "result")
        self.fails("sends-nan", "protocol_error")
        self.fails("floods", "protocol_error")

    def test_worker_that_refuses_to_close_is_killed(self):
        task = self.server.run("refuses-to-close")
        self.assertEqual(self.server.delete(f"/sessions/{task['session_id']}").status, 204)
        self.assertIsNone(process_status(task["output"]))

    def test_failed_session_says_so(self):
        task = self.server.run("breaks-protocol-in-call")
        id = task["session_id"]
        session = self.server.over(id)
        self.assertEqual(session["status"], "ended")  # seed 004's wire has no word for failed
        self.assertEqual(session["error"]["code"], "WORKER_LOST")
        self.refused(self.server.ask_run("breaks-protocol-in-call", session=id), 500, "WORKER_LOST",
                     f"session failed: {id}")
        self.assertEqual([s["id"] for s in self.server.get("/sessions?status=failed&id=" + id).data], [id])
        self.assertEqual(self.server.event_types(id)[-2:], ["worker.lost", "session.failed"])

    def test_manifest_that_is_malformed_is_logged_and_others_are_served(self):
        log = self.server.log()
        for name, words in {"not-toml": "app.toml:1", "no-command": "command: expected",
                            "unknown-key": "sesion_timeout",
                            "bad-timeout": "app.toml:4: session_timeout: expected an integer from 1 to 3600",
                            "bad-name": "app.toml:1: name", "second-counter": "has \\\"counter\\\" already"}.items():
            with self.subTest(name=name):
                lines = [line for line in log.splitlines() if f"/{name}/app.toml" in line]
                self.assertEqual(len(lines), 1, log)
                self.assertIn("error", lines[0])
                self.assertIn(words, lines[0])
        self.assertNotIn("x", [app["name"] for app in self.server.get("/apps").data])

    def test_app_whose_manifest_is_malformed_says_so_when_it_is_run(self):
        for name, words in {"not-toml": "app.toml:1: ", "bad-timeout": "app.toml:4: session_timeout: expected"}.items():
            error = self.refused(self.server.ask_run(name), 404, "app_not_found", f"there is no app '{name}'", words)
            self.assertNotIn(str(self.folder), error["message"])
        self.assertEqual(self.server.get("/apps/not-toml").status, 404)

    def test_manifest_that_is_missing_is_no_app(self):
        self.assertNotIn("no-manifest", self.server.log())
        self.refused(self.server.ask_run("no-manifest"), 404, "app_not_found", "no-manifest")


if __name__ == "__main__":
    unittest.main()
