"""The app finds on real pictures what is on them; its twin in Python runs the same tests."""

import json
import os
import shutil
import unittest
from pathlib import Path

from sojourn import Error, testing
from sojourn.steps import put_image, remove_image

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
BUILD = Path(os.environ.get("SOJOURN_BUILD", str(HERE.parent.parent / "build" / "release")))
TRUTH = json.loads((PICTURES / "truth.json").read_text(encoding="utf-8"))
PIXELS = 6  # how far a rectangle may be off


class Facts:
    app = None

    def setUp(self):
        self.start()

    def start(self, **opening):
        self.worker = testing.start(self.app, **opening)
        self.addCleanup(self.worker.kill)

    def picture(self, name):
        """As the server puts a file that is sent along into the session's folder."""
        folder = self.worker.folder / "files"
        folder.mkdir(exist_ok=True)
        shutil.copy(PICTURES / f"{name}.png", folder)
        return {"image_meta": {"file": {"path": str(folder / f"{name}.png"), "content_type": "image/png"}}}

    def detect(self, name):
        reference = self.picture("reference")
        return self.worker.call("detect", {"steps": [reference, reference, self.picture(name)]}).output

    def assert_near(self, rect, places):
        found = [rect[key] for key in ("x", "y", "width", "height")]
        self.assertLessEqual(max(abs(a - b) for a, b in zip(found, places)), PIXELS, (found, places))

    def test_locates_the_coins_of_the_photograph(self):
        data = self.detect("good")["steps"][1]["data"]
        self.assertEqual(data["count"], TRUTH["count"])
        for coin in TRUTH["reference"]["coins"]:
            near = min(data["position_rects"], key=lambda rect: abs(rect["x"] - coin[0]) + abs(rect["y"] - coin[1]))
            self.assert_near(near, coin)

    def test_judges_production_pictures_by_what_the_earlier_steps_left(self):
        for name in ("good", "missing", "damaged", "foreign"):
            with self.subTest(picture=name):
                truth = TRUTH[name]
                outcome = self.detect(name)
                data = outcome["steps"][2]["data"]
                self.assertEqual((outcome["status"], data["count"]), ("OK", truth["count"]))
                defects = data.get("defect_rects", [])
                self.assertEqual([rect["label"] for rect in defects], [defect[0] for defect in truth["defects"]])
                self.assertEqual(outcome["result_status"], "NG" if truth["defects"] else "OK")
                for rect, defect in zip(defects, truth["defects"]):
                    self.assert_near(rect, defect[1:])

    def test_hands_out_an_annotated_picture(self):
        file = self.detect("damaged")["steps"][2]["data"]["annotated"]["file"]
        self.assertEqual(file, {"path": "annotated.png", "content_type": "image/png"})
        self.assertEqual((self.worker.folder / "annotated.png").read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_goes_on_with_the_reference_after_a_crash(self):
        for index in (1, 2):
            self.worker.call("execute", {"step_index": index, **self.picture("reference")})
        self.worker.crash()
        self.start(state=self.worker.state, restored=True)
        data = self.worker.call("execute", {"step_index": 3, **self.picture("missing")}).output["data"]
        self.assertEqual(data["ng_reason"], "1 missing, 0 foreign, 0 damaged")

    def test_takes_pictures_in_shared_memory_in_every_pixel_format(self):
        for format, pixel_bytes in (("gray8", 1), ("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("gray16", 2)):
            with self.subTest(format=format):
                id, meta = put_image(bytes([90]) * (100 * 80 * pixel_bytes), 100, 80, format)
                self.addCleanup(remove_image, id)
                data = self.worker.call(
                    "execute", {"step_index": 1, "shared_mem_id": id, "image_meta": meta}
                ).output["data"]
                self.assertEqual((data["result_status"], data["ng_reason"]), ("NG", "too little contrast"))

    def test_a_picture_that_cannot_be_had_is_an_error(self):
        broken = self.worker.folder / "broken.png"
        broken.write_bytes((PICTURES / "good.png").read_bytes()[:50_000])
        for meta, code, words in (
            ({"file": {"path": "/etc/passwd"}}, "1012", "outside the session's folder"),
            ({"file": "x"}, "1012", "must be a file that was sent along"),
            ({"file": {"path": str(self.worker.folder / "none.png")}}, "1002", "none.png is no picture"),
            ({"file": {"path": str(broken)}}, "1002", "broken.png is no picture"),
            ({}, "1012", "the step was given no picture"),
        ):
            with self.subTest(meta=meta), self.assertRaises(Error) as caught:
                self.worker.call("execute", {"step_index": 1, "image_meta": meta})
            self.assertEqual(caught.exception.details["error_code"], code)
            self.assertIn(words, caught.exception.message)

    def test_judging_comes_behind_locating(self):
        with self.assertRaises(Error) as caught:
            self.worker.call("execute", {"step_index": 3, **self.picture("good")})
        self.assertIn("calibrate and locate first", caught.exception.message)


class CoinInspection(Facts, unittest.TestCase):
    app = BUILD / "apps" / "coin-inspection"


if __name__ == "__main__":
    unittest.main()
