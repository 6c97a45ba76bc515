"""How a server starts, and each way in which it cannot."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.program import BINARY, PATIENCE, Program, Served, clean_environment, command


class Start(Served):
    """Beside a server that serves: whatever cannot start leaves it alone."""

    def tearDown(self):
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"})["current"], 1)

    def cannot_start(self, exit_code, *words, flags=(), data=None, listen="127.0.0.1:0", environment=None):
        """Standard error of a server that does not start. It says what is wrong, and prints nothing else."""
        done = command("serve", "--listen", listen, "--data", data or self.folder / "other", "--apps",
                       self.server.apps, *flags, environment={**clean_environment(), **(environment or {})})
        self.assertEqual((done.returncode, done.stdout), (exit_code, ""), done.stderr)
        told = done.stderr[done.stderr.index("sojourn:"):]
        for word in words:
            self.assertIn(word, told)
        self.assertEqual(len(told.strip().splitlines()), 2, told)  # what is wrong, and what to do
        return done.stderr

    def test_prints_where_it_listens_and_nothing_else(self):
        self.assertRegex(self.server.url, r"^http://127\.0\.0\.1:[1-9]\d*$")
        os.set_blocking(self.server.process.stdout.fileno(), False)
        self.assertIsNone(self.server.process.stdout.read())

    def test_data_below_a_file(self):
        blocked = self.folder / "a file"
        blocked.write_text("precious")
        self.cannot_start(3, str(blocked), "Not a directory", data=blocked / "data")
        self.assertEqual(blocked.read_text(), "precious")

    def test_data_where_nothing_can_be_made(self):
        self.cannot_start(3, "/proc/sojourn", data="/proc/sojourn")

    def test_data_that_is_read_only(self):
        data = self.folder / "read-only"
        program = Program(self.server.apps, data).start()
        self.addCleanup(program.log_file.close)
        session = program.new_session("counter")
        program.output("counter", "increment", {"key": "a"}, session=session)
        program.stop()
        for run in self.ways_to_read_only(data):
            with self.subTest(way=run.__name__):
                done = run("serve", "--listen", "127.0.0.1:0", "--data", data, "--apps", self.server.apps)
                self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
                self.assertIn("sojourn: ", done.stderr)
                self.assertIn(str(data), done.stderr)
                self.assertIn("The data directory cannot be written", done.stderr)
                # It can be read meanwhile.
                read = run("audit", "verify", "--data", data)
                self.assertEqual(read.returncode, 0, read.stderr)
                self.assertIn(session, read.stdout)
        # Nothing is lost once it can be written again.
        program.start()
        self.assertEqual(program.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        program.stop()

    def ways_to_read_only(self, data):
        """Runners of commands that may not write `data`: modes do not hold root, so there it is another user."""
        binary = shutil.copy(BINARY, self.folder / "sojourn")  # the build's folder may be closed to others
        options = {"capture_output": True, "text": True, "timeout": PATIENCE, "env": clean_environment(), "cwd": "/"}
        as_nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}

        def by_modes(*words):
            return subprocess.run([binary, *words], **options, **as_nobody)

        in_namespace = ["unshare", "--mount", "sh", "-c",
                        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"', data]

        def by_mount(*words):
            return subprocess.run([*in_namespace, binary, *words], **options)

        self.folder.chmod(0o755)
        modes = {path: path.stat().st_mode for path in (data, *data.iterdir())}
        for path in modes:
            path.chmod(0o555 if path.is_dir() else 0o444)
        ways = [by_modes]
        if subprocess.run([*in_namespace, "true"], capture_output=True).returncode == 0:
            ways.append(by_mount)  # not every container may mount
        yield from ways
        for path, mode in modes.items():
            path.chmod(mode)

    def test_data_locked_by_another_server(self):
        self.cannot_start(3, f"'{self.server.data}' is taken: stop the server that runs on it, or choose another",
                          "Another server uses this data directory", data=self.server.data)

    def test_data_that_is_no_store(self):
        data = self.folder / "no-store"
        data.mkdir()
        (data / "sojourn.db").write_bytes(b"precious" * 1000)
        self.cannot_start(3, "sojourn.db", data=data)
        self.assertEqual((data / "sojourn.db").read_bytes(), b"precious" * 1000)

    def test_data_of_a_newer_sojourn(self):
        data = self.folder / "newer"
        program = Program(self.server.apps, data).start()
        self.addCleanup(program.log_file.close)
        program.stop()
        subprocess.run(["sqlite3", data / "sojourn.db", "PRAGMA user_version = 99"], check=True)
        self.cannot_start(3, "99", "A newer Sojourn wrote this store", data=data)

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            error = self.cannot_start(1, f"127.0.0.1:{port}", "choose another", listen=f"127.0.0.1:{port}")
        self.assertIn("another program listens on", error)

    def test_other_address_without_keys(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
            with self.subTest(address=address):
                self.cannot_start(2, address.rpartition(":")[0].strip("[]"), "--keys", listen=address)

    def test_other_address_with_keys(self):
        keys = self.folder / "keys.toml"
        command("keys", "create", "a", "--scope", "admin", "--file", keys)
        process = subprocess.Popen([BINARY, "serve", "--listen", "0.0.0.0:0", "--data", self.folder / "open",
                                    "--apps", self.server.apps, "--keys", keys], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=clean_environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertRegex(process.stdout.readline(), rb"^listening on http://0\.0\.0\.0:\d+\n$")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_key_file_that_is_missing_broken_or_open_to_others(self):
        self.cannot_start(2, "no-keys.toml", flags=["--keys", self.folder / "no-keys.toml"])
        keys = self.folder / "broken-keys.toml"
        for text in ("", "nonsense", '[[key]]\nname = "a"\n',
                     '[[key]]\nname = "a"\nhash = "x"\nscopes = ["admin"]\n'):
            with self.subTest(text=text):
                keys.write_text(text)
                keys.chmod(0o600)
                self.cannot_start(2, str(keys), flags=["--keys", keys])
        command("keys", "create", "a", "--scope", "admin", "--file", self.folder / "open-keys.toml")
        (self.folder / "open-keys.toml").chmod(0o644)
        self.cannot_start(2, "open-keys.toml", "600", flags=["--keys", self.folder / "open-keys.toml"])

    def test_settings_file_that_is_missing_or_broken(self):
        self.cannot_start(2, "no-such.toml", flags=["--config", self.folder / "no-such.toml"])
        file = self.folder / "bad.toml"
        for text, words in (("x =", "bad.toml:1"), ("colour = 1\n", "there is no setting 'colour'"),
                            ("\ndrain_grace = 'soon'\n", "bad.toml:2: bad drain_grace 'soon'"),
                            ("data = [1]\n", "data must be a text")):
            with self.subTest(text=text):
                file.write_text(text)
                self.cannot_start(2, words, flags=["--config", file])

    def test_bad_flags(self):
        for flags in (["--listen", "nonsense"], ["--listen", "127.0.0.1:99999"], ["--drain-grace", "-1"],
                      ["--nonsense"], ["word"]):
            with self.subTest(flags=flags):
                done = command("serve", *flags)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr)

    def test_bad_environment(self):
        self.cannot_start(2, "SOJOURN_DRAIN_GRACE", "soon", environment={"SOJOURN_DRAIN_GRACE": "soon"})

    def test_folder_of_apps_that_is_missing(self):
        program = Program(self.folder / "no apps", self.folder / "no-apps-data").start()
        self.addCleanup(program.log_file.close)
        self.assertEqual(program.get("/apps").data, [])
        self.assertIn("there is no folder of apps", program.log())
        program.stop()

    def test_settings_come_from_file_and_environment(self):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "sojourn.toml").write_text('listen = "127.0.0.1:0"\ndata = "kept"\nlog_format = "text"\n')
        process = subprocess.Popen([BINARY, "serve"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**clean_environment(), "SOJOURN_LOG_FORMAT": "json"})
        self.assertTrue(process.stdout.readline().startswith(b"listening on http://127.0.0.1:"))
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        self.assertTrue((folder / "kept" / "sojourn.db").exists())
        for line in log.splitlines():
            self.assertIn("level", json.loads(line))


class Keys(Served):
    @classmethod
    def setUpClass(cls):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.file = folder / "keys.toml"
        cls.keys = {}
        for name, scopes in {"reader": ["apps:read"], "runner": ["apps:execute"],
                             "both": ["apps:read", "apps:execute"], "admin": ["admin"]}.items():
            flags = [word for scope in scopes for word in ("--scope", scope)]
            cls.keys[name] = command("keys", "create", name, *flags, "--file", cls.file).stdout.strip()
        cls.flags = ("--keys", cls.file)
        super().setUpClass()

    def ask(self, method, path, body=None, key=None, authorization=None):
        if key:
            authorization = f"Bearer {self.keys[key]}"
        return self.server.ask(method, path, body, {"Authorization": authorization} if authorization else {})

    call = {"app": "counter", "session": "new", "wait": True, "input": {"key": "a"}}

    def test_key_is_stored_by_its_hash_only(self):
        text = self.file.read_text()
        for key in self.keys.values():
            self.assertRegex(key, r"^sjn_[A-Za-z0-9_-]{43}$")
            self.assertNotIn(key, text)
            self.assertNotIn(key[4:], text)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(text.count("hash = "), 4)

    def test_no_key(self):
        for method, path in (("GET", "/apps"), ("POST", "/apps/run"), ("GET", "/sessions"), ("POST", "/sessions"),
                             ("GET", "/sessions/x"), ("DELETE", "/sessions/x"), ("POST", "/sessions/x/keepalive"),
                             ("GET", "/tasks/x"), ("GET", "/tasks/x/stream"), ("POST", "/tasks/x/cancel"),
                             ("GET", "/sessions/x/state"), ("PUT", "/sessions/x/state/y"),
                             ("GET", "/sessions/x/events")):
            with self.subTest(method=method, path=path):
                answer = self.ask(method, path)
                self.refused(answer, 401, "unauthorized", "API key")

    def test_wrong_key(self):
        key = self.keys["admin"]
        for authorization in ("Bearer nonsense", "Bearer " + key[:-1], "Bearer " + key + "x", "Basic " + key, key,
                              "Bearer ", "Bearer"):
            with self.subTest(authorization=authorization[:12]):
                error = self.refused(self.ask("GET", "/apps", authorization=authorization), 401, "unauthorized")
                self.assertNotIn(key[4:40], json.dumps(error))

    def test_key_without_the_scope(self):
        error = self.refused(self.ask("POST", "/apps/run", self.call, "reader"), 403, "forbidden", "'reader'",
                             "apps:execute")
        self.assertEqual(error["details"]["scope"], "apps:execute")
        self.refused(self.ask("GET", "/sessions", key="runner"), 403, "forbidden", "'runner'", "apps:read")

    def test_key_with_the_scope_is_the_actor_in_the_journal(self):
        self.assertEqual(self.ask("GET", "/apps", key="reader").status, 200)
        self.assertEqual(self.ask("POST", "/apps/run", self.call, "runner").status, 200)
        for key in ("both", "admin"):
            task = self.ask("POST", "/apps/run", self.call, key).data
            events = self.ask("GET", f"/sessions/{task['session_id']}/events", key=key).data
            self.assertEqual([events[0]["event"]["actor"], events[-1]["event"]["actor"]], [key, key])

    def test_health_needs_no_key(self):
        self.assertEqual(self.ask("GET", "/healthz").status, 200)
        self.assertEqual(self.ask("GET", "/readyz").status, 200)

    def test_commands_show_their_key(self):
        done = self.server.command("apps", environment={"SOJOURN_API_KEY": self.keys["reader"]})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("counter", done.stdout)
        refused = self.server.command("apps")
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("Show a valid API key", refused.stderr)


if __name__ == "__main__":
    unittest.main()
