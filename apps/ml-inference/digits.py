"""Classifiers of handwritten digits: trained on seven tenths of the images, judged by the rest."""

import time
from functools import cache

import numpy
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

SIDE = 8
PIXELS = SIDE * SIDE
BRIGHTEST = 16
HELD_OUT = 0.3

DEFAULT = "svm"
KINDS = {
    "svm": lambda: SVC(gamma=0.001),
    "linear": lambda: make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1000)),
}
ALIASES = {"large-model-v2": "svm"}

trainings = 0  # in this process or the one it was forked from


@cache
def images():
    """Images to train with, held-out images, and the digits of both."""
    data = load_digits()
    return train_test_split(data.data, data.target, test_size=HELD_OUT, random_state=0, stratify=data.target)


class Model:
    """A trained classifier."""

    def __init__(self, name):
        global trainings
        seen, self.held_out, digits, self.answers = images()
        begun = time.perf_counter()
        self.name = name
        self.classifier = KINDS[name]().fit(seen, digits)
        self.trained_images = len(seen)
        self.seconds = round(time.perf_counter() - begun, 6)
        trainings += 1

    def predict(self, pixels):
        """A digit and the classifier's score of each digit, for each row of 64 pixels."""
        scores = self.classifier.decision_function(pixels)
        found = self.classifier.classes_[scores.argmax(axis=1)].tolist()
        return [{"digit": digit, "scores": row} for digit, row in zip(found, scores.round(6).tolist())]

    def evaluate(self):
        found = self.classifier.predict(self.held_out)
        confusion = confusion_matrix(self.answers, found)
        right, there, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        return {
            "model": self.name,
            "images": len(self.answers),
            "accuracy": accuracy_score(self.answers, found).item(),
            "recall": (right / there).tolist(),
            "precision": (right / numpy.maximum(named, 1)).tolist(),
            "confusion": confusion.tolist(),
        }
