"""One Chromium with its driver and a profile of its own; whatever happens, nothing of it stays."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection

from sojourn import Error

DRIVER = "/usr/bin/chromedriver"
# The browser itself, since Debian's /usr/bin/chromium adds what is in /etc/chromium.d, such as keys for services.
BROWSER = "/usr/lib/chromium/chromium"
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # what it shares goes to its own folder, where it can be found and removed
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-pipe",  # the driver speaks to it by a pipe, not by a port that others can reach
    # Nothing goes to the network but what a page asks for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-pings",
    "--disable-quic",
    "--disable-sync",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
)
START_SECONDS = 20
GONE_SECONDS = 3
LOOK_SECONDS = 0.01


class Browser:
    """Runs from its making until close()."""

    def __init__(self, resources, width, height):
        """Each part is noted with the session before it is there, or as soon as it has a number."""
        for program in (DRIVER, BROWSER):
            if not os.access(program, os.X_OK):
                raise Error("app_error", f"{program} is not there: install Debian's chromium, chromium-driver", False)
        self._resources = resources
        self._noted = []
        self._processes = []
        # Not in the session's folder: it also holds sockets, whose paths must be short.
        self._folder = Path("/tmp") / f"sojourn-browser-{secrets.token_hex(8)}"
        try:
            self._start(width, height)
        except BaseException:
            self.close()
            raise

    def _start(self, width, height):
        self._note("profile", "folder", self._remove_folder, {"path": str(self._folder)})
        self._folder.mkdir(mode=0o700)
        home = str(self._folder)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
        with open(self._folder / "driver.log", "wb") as log:
            self._driver_process = subprocess.Popen(
                [DRIVER, "--port=0"], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._note_process("driver", self._driver_process.pid)
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in (*FLAGS, f"--user-data-dir={home}/profile", f"--window-size={width},{height}"):
            options.add_argument(flag)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # its own sandbox refuses root
        self.driver = webdriver.Remote(
            ChromiumRemoteConnection(
                remote_server_addr=f"http://127.0.0.1:{self._port()}", vendor_prefix="goog", browser_name="chrome",
                keep_alive=True, ignore_proxy=True,
            ),
            options=options,
        )
        self._note_process("browser", self.driver.capabilities["goog:processID"])
        # The size of what pages see; that of the window includes the browser's own bars.
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def _port(self):
        """The port that the driver took."""
        until = time.monotonic() + START_SECONDS
        while True:
            over = self._driver_process.poll() is not None or time.monotonic() > until
            said = (self._folder / "driver.log").read_text(errors="replace")
            if found := re.search(r"started successfully on port (\d+)", said):
                return int(found[1])
            if over:
                raise Error("app_error", f"{DRIVER} did not start: {said}", True)
            time.sleep(LOOK_SECONDS)

    def devtools(self, command, **parameters):
        """A command of the DevTools protocol."""
        return self.driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]

    def kill(self):
        """Ends its processes; whoever waits for an answer of theirs gets an error. From any thread."""
        for process in [*descendants(self._processes), *self._processes]:
            end(process)

    def close(self):
        """Ends it, and removes its profile."""
        self.kill()
        if hasattr(self, "driver"):
            self.driver.command_executor.close()
        if hasattr(self, "_driver_process"):
            self._driver_process.wait()
        self._remove_folder()
        for id in self._noted:
            self._resources.release(id)

    def _note(self, part, kind, cleanup, note):
        id = f"{part} {self._folder.name}"
        self._noted.append(id)
        self._resources.add(id, kind, cleanup, cleanup_note=note)

    def _note_process(self, part, pid):
        process = (pid, started(pid))
        self._processes.append(process)
        self._note(part, "process", self.kill, {"pid": pid, "start": process[1] or 0})

    def _remove_folder(self):
        """Its last processes may still write while they end."""
        until = time.monotonic() + GONE_SECONDS
        while self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=time.monotonic() < until)
            time.sleep(LOOK_SECONDS)


def status(pid):
    """The state, parent and start of a process, or None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def started(pid):
    found = status(pid)
    return found and found[2]


def descendants(processes):
    """(pid, start) of all that descends from these processes."""
    there = {int(name): status(name) for name in os.listdir("/proc") if name.isdigit()}
    found, parents = [], {pid for pid, start in processes if there.get(pid) and there[pid][2] == start}
    while parents:
        parents = {pid for pid, seen in there.items() if seen and seen[1] in parents}
        found += [(pid, there[pid][2]) for pid in parents]
    return found


def end(process):
    """Kills a process if it is still the one that started then."""
    pid, start = process
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if start is not None and started(pid) == start:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
