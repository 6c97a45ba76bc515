"""The official JavaScript SDK, as it was published, against the real server."""

import hashlib
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "apps" / "chat-with-memory")]
from e2e.program import OWN_APPS, Served, command  # noqa: E402
from stand_in import StandIn  # noqa: E402

HERE = Path(__file__).parent
FOLDER = SOURCE / "build" / "sdk-js"  # where scripts/setup installs it
PACKAGE = FOLDER / "node_modules" / "@inferencesh" / "sdk"
APPS = ("session-test", "counter", "data-processor", "chat-with-memory")
SECONDS = 120

# Over the names and bytes of all files of version 0.6.54, as they came from the registry.
PUBLISHED = "b56d8ddba60e69123de2d2d4f1c90489c1fad81ea4d5c8a369cf3315c84776bb"


class Official(Served):
    @classmethod
    def make_apps(cls, folder):
        for app in APPS:
            (folder / app).symlink_to(SOURCE / "apps" / app)
        (folder / "probe").symlink_to(OWN_APPS / "probe")
        keys = folder.parent / "keys.toml"
        scopes = ("--scope", "apps:read", "--scope", "apps:execute")
        made = command("keys", "create", "sdk", *scopes, "--file", keys, "--json")
        cls.key = json.loads(made.stdout)["key"]
        cls.flags = ("--keys", str(keys))

    def run_module(self, name, **environment):
        """Runs the tests of a module, each of which is a test here in all but name."""
        settings = {"SOJOURN_URL": self.server.url, "SDK_JS_FOLDER": str(FOLDER), "SDK_JS_KEY": self.key}
        node = subprocess.run(
            ["/usr/bin/timeout", str(SECONDS), "/usr/bin/node", "--no-warnings", "--import", HERE / "load_sdk.mjs",
             "--test-reporter=tap", HERE / f"{name}.mjs"],
            env={**os.environ, **settings, **environment}, capture_output=True, text=True,
        )
        self.assertEqual(node.returncode, 0, f"{node.stdout}\n{node.stderr}\n{self.server.log()}")
        self.assertIn("# fail 0", node.stdout)
        self.assertNotIn("# pass 0", node.stdout)

    def test_the_package_is_the_published_one(self):
        self.assertTrue(PACKAGE.is_dir(), "it is not installed; run ./scripts/setup")
        self.assertEqual(json.loads((PACKAGE / "package.json").read_text())["version"], "0.6.54")
        digest = hashlib.sha256()
        for file in sorted(path for path in PACKAGE.rglob("*") if path.is_file()):
            digest.update(f"{file.relative_to(PACKAGE)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
        self.assertEqual(digest.hexdigest(), PUBLISHED)

    def test_sessions(self):
        self.run_module("sessions")

    def test_calls(self):
        gates = self.folder / "gates"
        gates.mkdir()
        for name in ("partial", "events"):
            os.mkfifo(gates / name)
        with StandIn() as model, StandIn() as slow:
            slow.fault = "slow"
            self.run_module("calls", SDK_JS_GATES=str(gates), SDK_JS_MODEL=model.url, SDK_JS_SLOW_MODEL=slow.url)

    def test_files(self):
        self.run_module("files")


if __name__ == "__main__":
    unittest.main()
