import unittest
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent


class MlInferenceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = testing.start(APP)

    @classmethod
    def tearDownClass(cls):
        cls.worker.kill()

    def call(self, function, input=None):
        return self.worker.call(function, input).output

    def samples(self, count):
        return [self.call("sample", {"number": number}) for number in range(count)]


class Predictions(MlInferenceTest):
    def test_most_digits_that_it_never_saw_are_recognised(self):
        images = self.samples(200)
        output = self.call("predict_many", {"data": [image["data"] for image in images]})
        right = sum(found["digit"] == image["digit"] for found, image in zip(output["predictions"], images))
        self.assertGreaterEqual(right, 194)
        self.assertGreater(len({image["digit"] for image in images}), 8)

    def test_evaluation_counts_the_held_out_images(self):
        report = self.call("evaluate")
        self.assertEqual(report["images"], 540)
        self.assertGreater(report["accuracy"], 0.97)
        self.assertEqual(sum(map(sum, report["confusion"])), 540)
        self.assertAlmostEqual(sum(report["confusion"][n][n] for n in range(10)) / 540, report["accuracy"])
        self.assertGreater(min(report["recall"] + report["precision"]), 0.9)

    def test_one_training_serves_many_predictions(self):
        before = self.call("model_info")
        for image in self.samples(30):
            self.call("predict", image)
        self.call("load_model", {"model": "svm"})
        after = self.call("model_info")
        self.assertEqual((after["trainings"], after["pid"]), (1, before["pid"]))
        self.assertEqual(after["predictions"], before["predictions"] + 30)

    def test_rows_and_a_flat_list_are_the_same_image(self):
        flat = self.samples(1)[0]["data"]
        rows = [flat[n : n + 8] for n in range(0, 64, 8)]
        one = self.call("predict", flat)
        self.assertEqual(one, self.call("predict", {"data": rows}))
        self.assertEqual(one["digit"], max(range(10), key=one["scores"].__getitem__))

    def test_many_show_how_far_they_are(self):
        image = self.samples(1)[0]["data"]
        result = self.worker.call("predict_many", {"data": [image] * 2001})
        self.assertEqual([frame["output"]["done"] for frame in result.before], [1000, 2000, 2001])
        self.assertEqual(len(result.output["predictions"]), 2001)
        self.assertEqual(self.call("predict_many", {"data": []})["predictions"], [])

    def test_the_seeds_way_to_call_it(self):
        loaded = self.call("run", {"action": "load_model", "model": "large-model-v2"})
        self.assertEqual((loaded["model"], loaded["trainings"]), ("svm", 1))
        image = self.samples(1)[0]
        self.assertEqual(self.call("run", {"action": "predict", "data": image["data"]})["digit"], image["digit"])


class Refusals(MlInferenceTest):
    def refused(self, pointer, words, function, input):
        with self.assertRaises(Error) as caught:
            self.call(function, input)
        self.assertEqual((caught.exception.code, caught.exception.details["pointer"]), ("invalid_request", pointer))
        self.assertTrue(caught.exception.message.startswith(pointer or "input"), caught.exception.message)
        self.assertIn(words, caught.exception.message)

    def test_bad_images_are_refused_with_their_place(self):
        good = [0] * 64
        rows = [[0] * 8 for _ in range(8)]
        for pointer, words, function, input in (
            ("", "not NoneType", "predict", None),
            ("/data", "needs \"data\"", "predict", {}),
            ("/data", "not 63 values", "predict", {"data": good[1:]}),
            ("/data", "not str", "predict", {"data": "x" * 64}),
            ("/data", "not 9 values", "predict", {"data": rows + [[0] * 8]}),
            ("/data/5", "row 5 has 7 pixels", "predict", {"data": rows[:5] + [[0] * 7] + rows[6:]}),
            ("/data/2/7", "not 17", "predict", {"data": rows[:2] + [[0] * 7 + [17]] + rows[3:]}),
            ("/data/63", "not -0.5", "predict", {"data": good[1:] + [-0.5]}),
            ("/0", "not 'a'", "predict", ["a"] + good[1:]),
            ("/data/0", "not True", "predict", {"data": [True] + good[1:]}),
            ("/data/1/0", "not None", "predict_many", {"data": [good, [None] + good[1:]]}),
            ("/data/1", "not 0 values", "predict_many", {"data": [good, []]}),
            ("/data", "list of images", "predict_many", {"data": 7}),
            ("/data/0", "not int", "predict_many", {"data": good}),
        ):
            with self.subTest(pointer=pointer, words=words):
                self.refused(pointer, words, function, input)
        self.assertIn("digit", self.call("predict", good))

    def test_other_bad_input_is_refused(self):
        self.refused("/model", "svm, linear", "load_model", {"model": "huge"})
        self.refused("/model", "no model 7", "load_model", {"model": 7})
        self.refused("/number", "0 to 539", "sample", {"number": 540})
        self.refused("/action", "load_model, predict", "run", {"action": "fly"})
        self.refused("", "object", "run", "predict")
        self.assertEqual(self.call("model_info")["model"], "svm")

    def test_a_session_for_an_unknown_model_does_not_open(self):
        with self.assertRaises(Error) as caught:
            testing.start(APP, setup={"model": "huge"})
        self.assertIn("no model 'huge'", caught.exception.message)


class Recovery(unittest.TestCase):
    def test_a_replaced_worker_has_the_same_model_and_count(self):
        with testing.start(APP) as worker:
            worker.call("load_model", {"model": "linear"})
            image = worker.call("sample").output
            before = worker.call("predict", image).output
            worker.crash()
            state = worker.state
        self.assertEqual(state, {"model": "linear", "predictions": 1})
        with testing.start(APP, state=state, restored=True) as worker:
            self.assertEqual(worker.call("predict", image).output, before)
            info = worker.call("model_info").output
            self.assertEqual((info["model"], info["predictions"]), ("linear", 2))


if __name__ == "__main__":
    unittest.main()
