"""Trains a model once, keeps it in the worker's memory, and predicts as often as asked."""

import math
import os

import digits
import numpy
from digits import ALIASES, BRIGHTEST, DEFAULT, KINDS, PIXELS, SIDE, Model

from sojourn import App, Error, serve

AT_ONCE = 1000


class MlInference(App):
    preloaded = None

    @classmethod
    def preload(cls):
        """All sessions share the first model, trained in the process that they are forked from."""
        cls.preloaded = Model(DEFAULT)

    def setup(self, session, input):
        wanted = input.get("model", DEFAULT) if isinstance(input, dict) else DEFAULT
        self._use(session, session.state.get("model", wanted))

    def run(self, session, input):
        if not isinstance(input, dict):
            raise refused("the input is an object", "")
        actions = {
            "load_model": self.load_model, "predict": self.predict, "predict_many": self.predict_many,
            "evaluate": lambda session, _: self.evaluate(), "model_info": lambda session, _: self.model_info(session),
            "sample": lambda _, input: self.sample(input),
        }
        action = input.get("action")
        if not isinstance(action, str) or action not in actions:
            raise refused(f"unknown action {action!r}: use one of {', '.join(actions)}", "/action")
        return actions[action](session, input)

    def load_model(self, session, input):
        """Trains another model, or none where it is the one that is there."""
        name = input.get("model", DEFAULT) if isinstance(input, dict) else input
        self._use(session, name)
        return self.model_info(session)

    def predict(self, session, input):
        [answer] = self.model.predict(numpy.array([pixels_of(*data_of(input))]))
        self._count(session, 1)
        return {"model": self.model.name, **answer}

    def predict_many(self, session, input):
        data, place = data_of(input)
        if not isinstance(data, list):
            raise refused("a list of images is needed", place)
        rows = numpy.array([pixels_of(image, f"{place}/{number}") for number, image in enumerate(data)])
        answers = []
        for begin in range(0, len(rows), AT_ONCE):
            if session.cancel_requested:
                raise Error("cancelled", f"stopped after {begin} of {len(rows)} images")
            answers += self.model.predict(rows[begin : begin + AT_ONCE])
            session.emit({"done": len(answers), "of": len(rows)})
        self._count(session, len(rows))
        return {"model": self.model.name, "predictions": answers}

    def evaluate(self):
        """How well the model does on images that it was not trained with."""
        return self.model.evaluate()

    def model_info(self, session):
        return {
            "model": self.model.name,
            "models": list(KINDS),
            "classifier": str(self.model.classifier),
            "trained_images": self.model.trained_images,
            "training_seconds": self.model.seconds,
            "trainings": digits.trainings,
            "predictions": session.state.get("predictions", 0),
            "pid": os.getpid(),
        }

    def sample(self, input):
        """A held-out image with the digit that it shows, to try the model with."""
        number = input.get("number", 0) if isinstance(input, dict) else 0
        there = len(self.model.answers)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < there:
            raise refused(f"the number of a held-out image is 0 to {there - 1}, not {number!r}", "/number")
        return {"data": self.model.held_out[number].astype(int).tolist(), "digit": int(self.model.answers[number])}

    def _use(self, session, name):
        name = ALIASES.get(name, name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in KINDS:
            raise refused(f"there is no model {name!r}; there is: {', '.join(KINDS)}", "/model")
        if getattr(self, "model", None) is None or self.model.name != name:
            preloaded = self.preloaded if self.preloaded and self.preloaded.name == name else None
            self.model = preloaded or Model(name)
            session.log.info("model ready", model=name, preloaded=preloaded is not None)
        session.state["model"] = name

    def _count(self, session, predictions):
        session.state["predictions"] = session.state.get("predictions", 0) + predictions


def data_of(input):
    """The data of an input, and where they stand in it."""
    if not isinstance(input, dict):
        return input, ""
    if "data" not in input:
        raise refused(f'the input needs "data": {PIXELS} pixels', "/data")
    return input["data"], "/data"


def pixels_of(image, place):
    """An image as 64 numbers, given so or as 8 rows of 8."""
    rows = isinstance(image, list) and len(image) == SIDE and all(isinstance(row, list) for row in image)
    if rows:
        for number, row in enumerate(image):
            if len(row) != SIDE:
                raise refused(f"row {number} has {len(row)} pixels instead of {SIDE}", f"{place}/{number}")
        pixels = [pixel for row in image for pixel in row]
    else:
        pixels = image
    if not isinstance(pixels, list) or len(pixels) != PIXELS:
        given = f"{len(pixels)} values" if isinstance(pixels, list) else type(pixels).__name__
        raise refused(f"an image is {PIXELS} numbers, or {SIDE} rows of {SIDE}, not {given}", place)
    for number, pixel in enumerate(pixels):
        number_place = f"{place}/{number // SIDE}/{number % SIDE}" if rows else f"{place}/{number}"
        if isinstance(pixel, bool) or not isinstance(pixel, (int, float)) or not math.isfinite(pixel):
            raise refused(f"a pixel is a number, not {pixel!r}", number_place)
        if not 0 <= pixel <= BRIGHTEST:
            raise refused(f"a pixel is 0 (white) to {BRIGHTEST} (black), not {pixel!r}", number_place)
    return pixels


def refused(message, pointer):
    return Error("invalid_request", f"{pointer or 'input'}: {message}", False, {"pointer": pointer})


if __name__ == "__main__":
    serve(MlInference)
