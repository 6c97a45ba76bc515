"""Counts on session.state: the values outlive the worker."""

from sojourn import App, Error, serve


class Counter(App):
    def increment(self, input):
        key, amount = arguments(input)
        state = self.session.state
        previous = state.get(key, 0)
        state[key] = previous + amount
        return {"key": key, "previous": previous, "current": previous + amount}


def arguments(input):
    if not isinstance(input, dict) or not isinstance(input.get("key"), str):
        raise Error("invalid_request", 'increment takes {"key": TEXT, "amount": NUMBER = 1}', False)
    amount = input.get("amount", 1)
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise Error("invalid_request", f'"amount" is a number, not {amount!r}', False)
    return input["key"], amount


if __name__ == "__main__":
    serve(Counter)
