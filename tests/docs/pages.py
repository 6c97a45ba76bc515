"""The pages of this project, their code blocks, and a server to hold them against."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

ROOT = pathlib.Path(os.environ["SOJOURN_SOURCE"])
BINARY = pathlib.Path(os.environ["SOJOURN_BINARY"])
BUILD = pathlib.Path(os.environ["SOJOURN_BUILD"])
DEADLINE = 60  # seconds for any one thing to happen

# Settings of whoever runs the tests would change what the pages show.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SOJOURN_")}


def all_pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    """Each fenced block of a page: its language, its marks, its text, the number of its first line."""
    found = []
    start = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if start is None:
                words = line[3:].split()
                start, language, marks, text = number + 1, words[0] if words else "", words[1:], []
            else:
                found.append((language, marks, "\n".join(text), start))
                start = None
        elif start is not None:
            text.append(line)
    assert start is None, f"{page}:{start}: a code block that does not end"
    return found


def without_blocks(page):
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def table_rows(page, head):
    """The rows of the tables of a page whose first column is called `head`, as lists of cells."""
    rows = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            rows.append(cells)
    return rows


class Server:
    """A server on a free port, for as long as the with statement lasts."""

    def __init__(self, folder, *arguments, apps=ROOT / "apps", command=None, environment=None):
        self.log = open(folder / "server.log", "ab")
        command = command or [BINARY, "serve", "--apps", apps, "--data", folder / "data", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
            cwd=folder, env={**ENVIRONMENT, **(environment or {})}, start_new_session=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.stop()
            raise AssertionError(f"{command} did not start:\n{(folder / 'server.log').read_text()}")
        self.url = line.removeprefix("listening on ").strip()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        self.log.close()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.stop() == 0, "the server failed"

    def ask(self, method, path, body=None, **headers):
        """Status, header fields and text of an answer. Version 2, so without the envelope, unless told otherwise."""
        headers = {"X-API-Version": "2", **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def json(self, method, path, body=None, **headers):
        text = self.ask(method, path, body, **headers)[2]
        return json.loads(text) if text else None


@contextlib.contextmanager
def temporary_folder():
    with tempfile.TemporaryDirectory(prefix="sojourn-docs-") as folder:
        yield pathlib.Path(folder)
