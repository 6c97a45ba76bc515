"""What may cross the boundary between an app and its server: strict JSON, checked by whoever prints it."""

from __future__ import annotations

import json
from typing import Any, Callable, Iterable

DEPTH = 64
_HALF = 1 << 63
VALUE_BYTES = 8 * 1024 * 1024

_ADVICE = {
    "set": "use a sorted list",
    "frozenset": "use a sorted list",
    "bytes": "decode it, or use base64 text",
    "bytearray": "decode it, or use base64 text",
    "datetime": "use .isoformat()",
    "date": "use .isoformat()",
    "Decimal": "use float() or str()",
    "Path": "use str()",
    "PosixPath": "use str()",
    "ndarray": "use .tolist()",
    "Series": "use .tolist() or .to_dict()",
    "DataFrame": "use .to_dict('records')",
    "generator": "use list()",
    "coroutine": "await it",
}


class Refused(Exception):
    """A value that JSON cannot hold, and where it lies in what was given."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []  # innermost first

    @property
    def pointer(self) -> str:
        return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in reversed(self.steps))


def check(value: Any, above: tuple[int, ...] = ()) -> None:
    """Raises Refused unless `value` is None, a bool, a finite number of 64 bits, text, or a list, tuple or str-keyed
    dict of such values, at most DEPTH levels deep. `above` holds the identities of the containers it lies in."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is int:
        if not -(1 << 63) <= value < 1 << 64:
            raise Refused("is an integer past 64 bits; use text or a float")
    elif kind is float:
        if value - value != 0.0:
            raise Refused(f"is {value!r}, which JSON cannot hold; use None")
    elif kind is bool or value is None:
        pass
    elif kind is dict or kind is list or kind is tuple:
        _check_items(value, above)
    else:
        _check_unusual(value, above)


def _check_items(value: Any, above: tuple[int, ...]) -> None:
    identity = id(value)
    if identity in above:
        raise Refused("contains itself")
    if len(above) >= DEPTH:
        raise Refused(f"is nested deeper than {DEPTH} levels")
    above = (*above, identity)
    place: Any = None
    try:
        if isinstance(value, dict):
            for place, item in value.items():
                if not isinstance(place, str):
                    raise _key_refused(place)
                if not place.isascii():
                    _check_text(place)
                kind = type(item)  # a call costs more than what most values need
                if kind is str and item.isascii() or kind is int and -_HALF <= item < _HALF:
                    continue
                check(item, above)
        else:
            for place, item in enumerate(value):
                kind = type(item)
                if kind is str and item.isascii() or kind is int and -_HALF <= item < _HALF:
                    continue
                check(item, above)
    except Refused as refused:
        refused.steps.append(place if isinstance(place, str) else repr(place))
        raise


def _key_refused(key: Any) -> Refused:
    return Refused(f"is a key of type {type(key).__name__}; use str keys")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"holds a lone surrogate at character {error.start}, which is no valid Unicode") from None


def _check_unusual(value: Any, above: tuple[int, ...]) -> None:
    if isinstance(value, (dict, list, tuple)):
        _check_items(value, above)
    elif isinstance(value, str):
        check(str.__str__(value))
    elif isinstance(value, float):  # numpy.float64 among them
        check(float.__float__(value))
    elif isinstance(value, int):  # IntEnum among them
        check(int.__int__(value))
    else:
        raise Refused(_why_not(type(value)))


def _why_not(kind: type) -> str:
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    advice = _ADVICE.get(kind.__name__)
    if advice is None:
        advice = "use .item()" if kind.__module__ == "numpy" else "use only what JSON can hold"
    return f"is of type {name}; {advice}"


def _make_encoder() -> Callable[[Any, int], Iterable[str]]:
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    if json.encoder.c_make_encoder is None:
        return lambda value, _: encoder.iterencode(value)
    # As iterencode() does, which makes a new one for each value.
    made: Callable[[Any, int], Iterable[str]] = json.encoder.c_make_encoder(
        None, encoder.default, quote, None, ":", ",", False, False, False
    )
    return made


quote = json.encoder.encode_basestring
_parts = _make_encoder()


def dumps(value: Any) -> str:
    """The JSON text of a value. Raises Refused."""
    kind = type(value)
    if kind is int and -_HALF <= value < _HALF:
        return repr(value)
    if kind is str and value.isascii():
        return quote(value)
    if kind is dict:
        _check_items(value, ())
    else:
        check(value)
    return "".join(_parts(value, 0))


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


# The value at a place of a JSON text, and where it ends. For what dumps() or the server printed, which is strict: nothing
# is checked again. Raises ValueError or StopIteration where there is none, RecursionError where it is too deep.
scan = json.JSONDecoder().scan_once


def loads(text: str) -> Any:
    """The value of a text that dumps() made."""
    return scan(text, 0)[0]
