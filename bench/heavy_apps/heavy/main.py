"""An app that imports much, as those that pandas and scikit-learn are made for."""

import pandas
import sklearn.ensemble
import sklearn.linear_model

from sojourn import App, serve


class Heavy(App):
    @classmethod
    def preload(cls):
        cls.table = pandas.DataFrame({"x": range(1_000)})

    def run(self):
        model = sklearn.linear_model.LinearRegression.__name__
        return {"rows": len(self.table), "models": [model, sklearn.ensemble.RandomForestClassifier.__name__]}


if __name__ == "__main__":
    serve(Heavy)
