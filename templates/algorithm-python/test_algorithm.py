import unittest

from algorithm import NewAlgorithm
from sojourn import steps


class NewAlgorithmTest(unittest.TestCase):
    def picture(self, brightness):
        """A picture of one brightness."""
        id, meta = steps.put_image(bytes([brightness]) * 32, 8, 4, "gray8")
        self.addCleanup(steps.remove_image, id)
        return {"shared_mem_id": id, "image_meta": meta}

    def detect(self, *pictures):
        return steps.detect(steps.StepRunner(NewAlgorithm), steps.Session("test"), "", list(pictures))

    def test_takes_a_product_that_is_as_bright_as_the_reference(self):
        self.assertEqual(self.detect(self.picture(100), self.picture(105))["result_status"], "OK")

    def test_refuses_one_that_is_not(self):
        outcome = self.detect(self.picture(100), self.picture(50))
        self.assertEqual((outcome["result_status"], outcome["ng_reason"]), ("NG", "too dark"))

    def test_fails_without_a_picture(self):
        self.assertEqual(self.detect(self.picture(100))["status"], "ERROR")


if __name__ == "__main__":
    unittest.main()
