"""Nothing stays of a browser whose worker or server is killed."""

import os
import signal
from pathlib import Path

from e2e.program import SOURCE, Program, Served, is_alive, process_status, wait_for

APP = "browser-automation"


class BrowserApp(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / APP).symlink_to(SOURCE / "apps" / APP)

    def started_browser(self, server):
        """A session with a browser, its processes as (pid, start), and its folder."""
        session = server.run(APP, "start", {"url": "about:blank"})["session_id"]
        children = Path(f"/proc/{server.worker(session)}/task/{server.worker(session)}/children").read_text().split()
        [folder] = [Path(os.readlink(f"/proc/{child}/cwd")) for child in children]
        processes = users(folder)
        self.assertGreater(len(processes), 3)
        return session, processes, folder

    def nothing_stays(self, processes, folder):
        wait_for(lambda: not any(is_alive(process) for process in processes), "the end of the browser's processes")
        wait_for(lambda: not folder.exists(), "the end of the browser's profile")
        self.assertEqual(users(folder), [])

    def test_nothing_stays_of_a_killed_workers_browser(self):
        session, processes, folder = self.started_browser(self.server)
        _, others, other_folder = self.started_browser(self.server)
        self.server.kill_worker(session)
        self.nothing_stays(processes, folder)
        self.assertTrue(all(is_alive(process) for process in others[:1]) and other_folder.exists())
        events = self.server.events(session)
        kinds = [event["data"]["kind"] for event in events if event["type"] == "resource.added"]
        self.assertEqual(sorted(kinds), ["folder", "process", "process"])
        self.refused(self.server.ask_run(APP, "text", session=session), 500, "WORKER_LOST")

    def test_nothing_stays_of_an_ended_sessions_browser(self):
        session, processes, folder = self.started_browser(self.server)
        self.server.delete(f"/sessions/{session}")
        self.nothing_stays(processes, folder)

    def test_nothing_stays_of_a_killed_servers_browser(self):
        server = Program(self.folder / "apps", self.folder / "data of another")
        self.addCleanup(server.log_file.close)
        server.start()
        _, processes, folder = self.started_browser(server)
        os.kill(server.process.pid, signal.SIGKILL)
        server.kill()
        wait_for(lambda: not any(is_alive(process) for process in processes), "the end of the browser's processes")
        server.start()
        self.nothing_stays(processes, folder)
        server.stop()


def users(folder):
    """The processes whose command line or environment names a folder, as (pid, start)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            text = b""
            for file in ("cmdline", "environ"):
                try:
                    text += Path(f"/proc/{name}/{file}").read_bytes()
                except OSError:
                    pass
            status = process_status(int(name))
            if str(folder).encode() in text and status:
                found.append((int(name), status[1]))
    return found
