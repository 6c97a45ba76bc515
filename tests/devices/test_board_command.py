"""`sojourn board` drives a real micro:bit, which keeps its files between commands."""

import json
import os
import pathlib
import pty
import select
import subprocess
import tempfile
import time
import unittest

BINARY = os.environ["SOJOURN_BINARY"]
FIRMWARE = pathlib.Path("/usr/share/firmware-microbit-micropython/firmware.hex")
DEADLINE = 60  # seconds for any one thing to happen


def wait_until(happened, what):
    end = time.monotonic() + DEADLINE
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.01)


@unittest.skipUnless(FIRMWARE.exists(), f"*** NO BOARD, SO sojourn board WAS NOT TESTED: {FIRMWARE} is not installed")
class BoardCommand(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        wire = self.folder / "board.sock"
        self.address = f"unix:{wire}"
        self.board = subprocess.Popen(
            ["qemu-system-arm", "-M", "microbit", "-device", f"loader,file={FIRMWARE}", "-display", "none", "-monitor",
             "none", "-chardev", f"socket,id=c0,path={wire},server=on,wait=off", "-serial", "chardev:c0"])
        self.addCleanup(self.board.wait)
        self.addCleanup(self.board.kill)
        wait_until(wire.exists, "the board's socket")

    def sojourn(self, *words, code=0, text=None):
        done = subprocess.run([BINARY, "board", *words], cwd=self.folder, input=text, capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def test_shows_runs_copies_and_resets(self):
        info = json.loads(self.sojourn("info", self.address, "--json"))
        self.assertEqual((info["platform"], info["version"]), ("microbit", "1.9.2"))
        self.assertIn("microbit", self.sojourn("info", self.address))

        self.assertEqual(self.sojourn("exec", self.address, "x = 6\nprint(x * 7)"), "42\n")
        (self.folder / "code.py").write_text("print('from a file', x)\n\n\n1 / 0\n", encoding="utf-8")
        said = self.sojourn("exec", self.address, "@code.py", code=1)
        self.assertIn("ZeroDivisionError: division by zero (code.py:4)", said)
        self.assertEqual(self.sojourn("exec", self.address, "@-", text="print(x)"), "6\n")
        self.assertEqual(json.loads(self.sojourn("exec", self.address, "print(1)", "--json")), {"output": "1\n"})

        data = bytes(range(256)) * 3
        (self.folder / "data.bin").write_bytes(data)
        self.sojourn("put", self.address, "data.bin")
        self.assertEqual(json.loads(self.sojourn("ls", self.address, "--json")),
                         [{"name": "data.bin", "size": 768, "folder": False}])
        self.sojourn("get", self.address, "data.bin", "back.bin")
        self.assertEqual((self.folder / "back.bin").read_bytes(), data)

        self.sojourn("reset", self.address)
        self.assertIn("NameError", self.sojourn("exec", self.address, "x", code=1))
        self.sojourn("rm", self.address, "data.bin")
        self.assertEqual(json.loads(self.sojourn("ls", self.address, "--json")), [])
        self.assertIn("cannot be restarted by force", self.sojourn("reset", self.address, "--hard", code=3))

    def test_serves_sessions_on_it(self):
        listening = self.folder / "listening"
        with listening.open("w") as out:
            server = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--boards", f"lamp={self.address}"],
                                      cwd=self.folder, stdout=out, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_until(lambda: "\n" in listening.read_text(encoding="utf-8"), "the server's start")
        url = listening.read_text(encoding="utf-8").split()[-1]

        def run(app, function, answer, session="new", code=0):
            done = subprocess.run([BINARY, "run", app, "--url", url, "--session", session, "--function", function, "--input",
                                   json.dumps(answer), "--json"], capture_output=True, text=True, timeout=DEADLINE, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            return json.loads(done.stdout) if done.stdout else json.loads(done.stderr)

        task = run("board", "exec", {"code": "x = 6\nprint('hi')"})
        self.assertEqual(task["output"], {"output": "hi\n"})
        session = task["session_id"]
        self.assertEqual(run("board", "eval", {"expression": "x * 7"}, session)["output"], {"value": 42})
        subprocess.run([BINARY, "sessions", "end", session, "--url", url], check=True, timeout=DEADLINE, capture_output=True)
        # Another session gets the same board, and nothing that the last one left there.
        task = run("lamp", "eval", {"expression": "'x' in globals()"})
        self.assertEqual(task["output"], {"value": False})
        server.terminate()
        self.assertEqual(server.wait(DEADLINE), 0)

    def test_sends_only_what_differs_of_a_folder(self):
        tree = self.folder / "tree"
        tree.mkdir()
        (tree / "main.py").write_text("print(1)\n", encoding="utf-8")
        (tree / "pins.py").write_text("LED = 2\n", encoding="utf-8")
        said = self.sojourn("sync", self.address, "tree", "--json")
        self.assertEqual(json.loads(said), {"sent": ["main.py", "pins.py"], "removed": [], "kept": 0})
        (tree / "main.py").write_text("print(2)\n", encoding="utf-8")
        (tree / "pins.py").unlink()
        self.assertEqual(self.sojourn("sync", self.address, "tree", "--remove-others"), "1 sent, 1 removed, 0 as they were\n")
        self.assertEqual([row["name"] for row in json.loads(self.sojourn("ls", self.address, "--json"))], ["main.py"])
        self.assertIn("there is no folder", self.sojourn("sync", self.address, "nowhere", code=2))

    def test_is_a_terminal_on_the_boards_own_prompt(self):
        self.sojourn("exec", self.address, "x = 6")
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        repl = subprocess.Popen([BINARY, "board", "repl", self.address], stdin=end, stdout=end, stderr=end)
        os.close(end)
        self.addCleanup(repl.wait)
        self.addCleanup(repl.kill)
        shown = b""

        def shows(text):
            nonlocal shown
            end_at = time.monotonic() + DEADLINE
            while text not in shown:
                self.assertLess(time.monotonic(), end_at, shown)
                if select.select([terminal], [], [], 1)[0]:
                    shown += os.read(terminal, 4096)
            shown = shown.partition(text)[2]

        shows(b">>> ")
        os.write(terminal, b"x*7\r")
        shows(b"x*7\r\n42\r\n>>> ")
        os.write(terminal, b"\x1b[A\r")  # the last line again, from the board's history
        shows(b"x*7\r\n42\r\n>>> ")
        os.write(terminal, b"exec(\"print('go')\\nwhile 1:pass\")\r")
        shows(b"\r\ngo\r\n")
        os.write(terminal, b"\x03")
        shows(b"KeyboardInterrupt")
        os.write(terminal, b"\x1d")
        self.assertEqual(repl.wait(DEADLINE), 0)
        self.assertEqual(self.sojourn("exec", self.address, "print(x)"), "6\n")
        done = subprocess.run([BINARY, "board", "repl", self.address], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("needs a terminal", done.stderr)

    def test_lists_the_ports_on_usb(self):
        done = subprocess.run([BINARY, "board", "list", "--json"], capture_output=True, text=True, timeout=DEADLINE, check=True)
        self.assertIsInstance(json.loads(done.stdout), list)  # which there are is the machine's affair

    def test_interrupts_what_runs_too_long(self):
        self.assertIn("call", self.sojourn("exec", self.address, "while True:\n  pass", "--timeout", "1", code=1))
        self.assertEqual(self.sojourn("exec", self.address, "print('well')"), "well\n")

    def test_says_what_is_wrong(self):
        self.assertIn("write serial:PATH", self.sojourn("info", "nonsense", code=2))
        self.assertIn("No such file", self.sojourn("info", "unix:/nowhere/board.sock", code=3))
        self.assertIn("there is no file", self.sojourn("put", self.address, "nowhere", code=2))


if __name__ == "__main__":
    unittest.main()
