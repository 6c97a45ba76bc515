"""Words for tests that need a program which serves."""

from __future__ import annotations

import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any

from sojourn import Error, testing


class WorkerTest(unittest.TestCase):
    maxDiff = None

    def program(self, text: str) -> Path:
        """A Python file that holds `text`, the body of a class X(App), and serves it."""
        folder = tempfile.TemporaryDirectory(prefix="sojourn-test-")
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "main.py"
        body = textwrap.indent(textwrap.dedent(text), "    ")
        head = "import asyncio, os, sys, threading, time\nfrom sojourn import App, Error, serve\n"
        path.write_text(f"{head}class X(App):\n{body}\nserve(X)\nprint('served')\n")
        return path

    def start(self, text: str, **opening: Any) -> testing.Worker:
        worker = testing.start(self.program(text), **opening)
        self.addCleanup(worker.kill)
        return worker

    def started(self, text: str) -> testing.Worker:
        """A worker that nobody spoke to yet."""
        worker = testing.Worker(self.program(text))
        self.addCleanup(worker.kill)
        return worker

    def cancelled(self, text: str, function: str = "run", once: str = "log") -> tuple[testing.Worker, Any]:
        """The worker, and the output or the error's code of a call that is cancelled once it sent a frame `once`."""
        worker = self.start(text)
        request_id = worker.begin(function)
        worker.expect(once)
        worker.send({"type": "cancel", "request_id": request_id})
        try:
            return worker, worker.finish(request_id).output
        except Error as error:
            return worker, error.code
