"""What bench/counter_app.hpp does, in a process."""
from sojourn import App, serve


class Figures(App):
    filled = 0

    def increment(self, input):
        state = self.session.state
        previous = state.get(input["key"], 0)
        state[input["key"]] = previous + input["amount"]
        return {"key": input["key"], "previous": previous, "current": previous + input["amount"]}

    def fill(self, input):
        letter = chr(ord("a") + self.filled % 26)
        self.filled += 1
        for number in range(input["keys"]):
            self.session.state[f"filled_{number}"] = letter * (input["bytes"] // input["keys"])
        return self.filled

    def stream(self, input):
        for _ in range(input["count"]):
            self.session.emit("x" * input["bytes"])
        return input["count"]


if __name__ == "__main__":
    serve(Figures)
