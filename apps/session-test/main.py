"""Keeps its values in the worker's memory: they live as long as the session's one process."""

from sojourn import App, Error, serve


class SessionTest(App):
    def setup(self):
        self.values = {}
        self.call_count = 0

    def set_value(self, input):
        key = self._key(input)
        if "value" not in input:
            raise Error("invalid_request", 'set_value takes {"key": TEXT, "value": ANY}', False)
        self.values[key] = input["value"]
        return {"success": True, "key": key, "value": input["value"]}

    def get_value(self, input):
        key = self._key(input)
        if key not in self.values:
            return {"found": False, "key": key}
        return {"found": True, "key": key, "value": self.values[key]}

    def increment(self, input):
        key = self._key(input)
        amount = input.get("amount", 1)
        previous = self.values.get(key, 0)
        for name, number in (("amount", amount), (f"the value of {key}", previous)):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise Error("invalid_request", f"{name} is a number, not {number!r}", False)
        self.values[key] = previous + amount
        return {"key": key, "previous": previous, "current": self.values[key]}

    def get_all(self):
        self.call_count += 1
        return {"state": self.values, "call_count": self.call_count}

    def _key(self, input):
        self.call_count += 1
        if not isinstance(input, dict) or not isinstance(input.get("key"), str):
            raise Error("invalid_request", 'the input is an object with a text "key"', False)
        return input["key"]


if __name__ == "__main__":
    serve(SessionTest)
