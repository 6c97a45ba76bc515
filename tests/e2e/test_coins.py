"""Real pictures inspected through the server: files in, a verdict and an annotated picture out; and nothing left behind."""

import operator
import os
import sys
import unittest
import urllib.request
from pathlib import Path

from e2e.program import SOURCE, Served, wait_for
from sojourn.steps import put_image

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))
PICTURES = SOURCE / "apps" / "coin-inspection" / "pictures"
sys.path.insert(0, str(SOURCE / "apps" / "coin-inspection-python"))
from png import read_png

DETECTIONS = int(os.environ.get("SOJOURN_ROUNDS", "20"))


class Coins:
    """The tests; a class for each language names its app."""

    app = None

    @classmethod
    def make_apps(cls, folder):
        (folder / "coin-inspection").symlink_to(BUILD / "apps" / "coin-inspection")
        (folder / "coin-inspection-python").symlink_to(SOURCE / "apps" / "coin-inspection-python")

    def send(self, name):
        """A picture as a file of the server's, and how a step names it."""
        ticket = self.server.ask("POST", "/files", {"files": [{"uri": "", "filename": f"{name}.png",
                                                               "content_type": "image/png"}]}).data[0]
        request = urllib.request.Request(ticket["upload_url"], (PICTURES / f"{name}.png").read_bytes(), method="PUT")
        urllib.request.urlopen(request).close()
        return {"image_meta": {"file": ticket["uri"]}}

    def test_a_damaged_coin_is_found_and_shown(self):
        reference = self.send("reference")
        steps = [reference, reference, self.send("damaged")]
        output = self.server.output(self.app, "detect", {"steps": steps})
        self.assertEqual((output["result_status"], output["ng_reason"]), ("NG", "0 missing, 0 foreign, 1 damaged"))
        file = output["steps"][2]["data"]["annotated"]["file"]
        with urllib.request.urlopen(self.server.url + file["uri"]) as answer:
            self.assertEqual((answer.headers["Content-Type"], answer.read(4)), ("image/png", b"\x89PNG"))

    def test_many_detections_leave_no_image_descriptor_or_process_behind(self):
        session = self.server.new_session(self.app)
        self.server.output(self.app, "info", session=session)
        self.end(session)  # behind it is open what a first session opens for good
        before = self.open_descriptors(self.server.process.pid)
        session = self.server.new_session(self.app)
        pixels = read_png(PICTURES / "reference.png")
        height, width = pixels.shape
        used, first = [], None
        for _ in range(DETECTIONS):
            steps = []
            for _ in range(3):
                id, meta = put_image(pixels.tobytes(), width, height, "gray8")
                steps.append({"shared_mem_id": id, "image_meta": meta})
                used.append(id)
            output = self.server.output(self.app, "detect", {"steps": steps}, session=session)
            self.assertEqual(output["result_status"], "OK")
            first = first or self.held(session)
        self.server.output(self.app, "reset", session=session)
        self.assertEqual([id for id in used if Path("/dev/shm", id).exists()], [])
        # A thread of OpenCV's may read its files while one looks, so more than once.
        wait_for(lambda: all(map(operator.le, self.held(session), first)), "the end of what the detections had open")
        self.end(session)
        wait_for(lambda: self.open_descriptors(self.server.process.pid) <= before, "the end of what the server had open")

    def held(self, session):
        """(open descriptors of its worker, processes of the server)"""
        return self.open_descriptors(self.server.worker(session)), len(self.server.family())

    def end(self, session):
        worker = self.server.worker(session)
        self.server.delete(f"/sessions/{session}")
        wait_for(lambda: not Path(f"/proc/{worker}").exists(), "the end of the worker")

    @staticmethod
    def open_descriptors(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))


class Cpp(Coins, Served):
    app = "coin-inspection"


class Python(Coins, Served):
    app = "coin-inspection-python"


if __name__ == "__main__":
    unittest.main()
