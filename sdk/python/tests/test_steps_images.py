import os
import tempfile
import textwrap
import unittest
from pathlib import Path

import numpy

from sojourn import Error, testing
from sojourn.steps import StepError, open_image, put_image, read_image_from_shared_memory, remove_image

PIXELS = bytes(range(45))  # 5 by 3, R, G and B


class ImageTest(unittest.TestCase):
    def put(self, data=PIXELS, width=5, height=3, **fields):
        id, meta = put_image(data, width, height, **fields)
        self.addCleanup(remove_image, id)
        return id, meta

    def refused(self, code, words, id, meta):
        with self.assertRaises(StepError) as caught:
            open_image(id, meta)
        self.assertEqual(caught.exception.code.name, code)
        self.assertIn(words, caught.exception.message)


class Images(ImageTest):
    def test_are_read_where_they_were_written(self):
        id, meta = self.put()
        image = open_image(id, {**meta, "camera_id": 7, "timestamp_ms": 1})
        self.assertEqual((image.width, image.height, image.channels, image.stride), (5, 3, 3, 15))
        self.assertEqual(bytes(image.data), PIXELS)
        with open(f"/dev/shm/{id}", "r+b") as file:
            file.write(b"\xff")
        self.assertEqual(image.data[0], 255)  # the same pages
        with self.assertRaises(TypeError):
            image.data[0] = 1

    def test_say_what_they_are_in_the_words_of_the_cpp_face(self):
        _, meta = self.put(bytes(48), stride=16)
        self.assertEqual(
            meta,
            {"width": 5, "height": 3, "channels": 3, "stride": 16, "format": "rgb8", "checksum": "crc32:f288b395"},
        )

    def test_that_are_missing_are_an_error_and_never_black(self):
        id, meta = self.put()
        self.assertTrue(remove_image(id))
        self.assertFalse(remove_image(id))
        self.refused("image_not_found", f"shared_mem_id: {id} cannot be opened", id, meta)

    def test_that_are_shorter_than_declared_are_an_error(self):
        id, meta = self.put()
        self.refused("image_load_failed", "has 45 bytes; its image_meta declares 60", id, {**meta, "height": 4})
        with self.assertRaises(StepError):
            put_image(PIXELS[:-1], 5, 3)

    def test_with_another_checksum_are_an_error(self):
        id, meta = self.put()
        os.truncate(f"/dev/shm/{id}", 44)
        os.truncate(f"/dev/shm/{id}", 45)
        self.refused("image_load_failed", "another checksum", id, meta)

    def test_may_have_sixteen_bits_of_grey(self):
        pixels = numpy.arange(15, dtype=numpy.uint16).reshape(3, 5) * 1000
        id, meta = self.put(pixels, format="gray16")
        self.assertEqual((meta["channels"], meta["stride"]), (1, 10))
        image = open_image(id, meta)
        self.assertEqual((image.array().shape, image.array().dtype), ((3, 5, 1), numpy.uint16))
        self.assertTrue((image.array()[:, :, 0] == pixels).all())
        self.assertEqual(read_image_from_shared_memory(id, meta)[2, 1].tolist(), [11_000] * 3)
        padded = self.put(pixels[:, :4].copy(), width=3, format="gray16", stride=8)
        self.assertTrue((open_image(*padded).array()[:, :, 0] == pixels[:, :3]).all())

    def test_only_are_opened_and_removed_by_ids_of_images(self):
        self.refused("image_not_found", "shared_mem_id: is missing", "", {})
        for id in ("dev-shm:s-1", "sojourn-image-../x", "sojourn-image-a/b", "/sojourn-image-a", None):
            with self.subTest(id=id):
                self.refused("image_not_found", "is no id of an image", id, {})
                self.assertRaises(StepError, remove_image, id)

    def test_come_as_arrays_of_three_channels_in_the_order_of_the_original(self):
        self.assertEqual(read_image_from_shared_memory(*self.put())[1, 0].tolist(), [15, 16, 17])
        self.assertEqual(read_image_from_shared_memory(*self.put(format="bgr8"))[1, 0].tolist(), [17, 16, 15])
        gray = read_image_from_shared_memory(*self.put(PIXELS[:15], format="gray8"))
        self.assertEqual((gray.shape, gray[2, 1].tolist()), ((3, 5, 3), [11, 11, 11]))
        padded = read_image_from_shared_memory(*self.put(PIXELS + b"xyz", stride=16))
        self.assertEqual(padded[1, 0].tolist(), [16, 17, 18])


MEAN = """
    from sojourn.steps import BaseAlgorithm, open_image

    class Mean(BaseAlgorithm):
        def get_info(self):
            return {"name": "mean", "version": "1", "steps": [{"index": 1, "name": "a"}, {"index": 2, "name": "b"}]}

        def pre_execute(self, *_):
            return {"status": "OK", "data": {}}

        def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
            data = open_image(shared_mem_id, image_meta).data
            return {"status": "OK", "data": {"result_status": "OK", "mean": sum(data) / len(data)}}
"""


class ImagesOfASession(ImageTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-test-")
        self.addCleanup(folder.cleanup)
        self.app = Path(folder.name)
        (self.app / "mean.py").write_text(textwrap.dedent(MEAN))
        sdk = Path(__file__).parents[1]
        (self.app / "app.toml").write_text(
            f'name = "mean"\ncommand = ["/usr/bin/python3", "-m", "sojourn.steps", "mean:Mean"]\n[env]\nPYTHONPATH = "{sdk}"\n'
        )

    def start(self):
        worker = testing.start(self.app)
        self.addCleanup(worker.kill)
        return worker

    def step(self, image):
        return {"shared_mem_id": image[0], "image_meta": image[1]}

    def test_are_recorded_before_the_algorithm_sees_them_and_removed_with_it(self):
        worker, image = self.start(), self.put()
        result = worker.call("execute", {"step_index": 1, **self.step(image)})
        self.assertEqual(result.output["data"]["mean"], 22.0)
        note = result.before[0]
        self.assertEqual((note["op"], note["kind"], note["cleanup"]), ("add", "image", {"shm": f"/{image[0]}"}))
        worker.close()
        self.assertFalse(remove_image(image[0]))

    def test_of_one_detection_are_released_by_the_next_and_by_reset(self):
        worker = self.start()
        first, second = self.put(), self.put()
        worker.call("detect", {"steps": [self.step(first), self.step(first)]})
        worker.call("detect", {"steps": [self.step(second), self.step(second)]})
        self.assertFalse(remove_image(first[0]))
        worker.call("reset")
        self.assertFalse(remove_image(second[0]))

    def test_of_one_detection_may_be_those_of_the_next(self):
        worker, image = self.start(), self.put()
        for _ in range(2):
            output = worker.call("detect", {"steps": [self.step(image), self.step(image)]}).output
            self.assertEqual(output["result_status"], "OK")
        worker.call("reset")
        self.assertFalse(remove_image(image[0]))

    def test_that_were_freed_early_fail_the_step_and_nothing_else(self):
        worker, image = self.start(), self.put()
        remove_image(image[0])
        with self.assertRaises(Error) as caught:
            worker.call("execute", {"step_index": 1, **self.step(image)})
        self.assertEqual(caught.exception.details["error"], "image_not_found")
        self.assertEqual(worker.call("execute", {"step_index": 1, **self.step(self.put())}).output["status"], "OK")


if __name__ == "__main__":
    unittest.main()
