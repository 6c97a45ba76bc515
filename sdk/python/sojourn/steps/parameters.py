"""What an algorithm says of itself in get_info, and what callers may tell its steps: both checked, in the same words as
in C++ (sdk/steps_cases.json)."""

from __future__ import annotations

import re
import sys
from typing import Any, Optional

from .codes import StepError

TYPES = ("int", "float", "bool", "enum", "rect", "string")
STRING_BYTES = 4096
_RECT = re.compile(r"[0-9]{1,9},[0-9]{1,9},0*[1-9][0-9]{0,8},0*[1-9][0-9]{0,8}")

Fields = dict[str, Any]


def check_info(info: Any) -> Fields:
    """A copy of what get_info answered, complete. Raises StepError invalid_result, which names the field."""
    if not isinstance(info, dict):
        raise _refused("get_info", "must return a dict")
    steps = _list(info, "steps", needed=True)
    if not steps:
        raise _refused("get_info: steps", "must have at least one")
    pids = _list(info, "supported_pids")
    if not all(isinstance(pid, str) for pid in pids):
        raise _refused("get_info: supported_pids", "must be a list of texts")
    resumable = info.get("resumable", False)
    if not isinstance(resumable, bool):
        raise _refused("get_info: resumable", "must be true or false")
    return {
        "name": _text(info, "name", "get_info: ", needed=True),
        "version": _text(info, "version", "get_info: ", needed=True),
        "description": _text(info, "description", "get_info: "),
        "supported_pids": list(pids),
        "steps": [_step(step, index) for index, step in enumerate(steps, 1)],
        "resumable": resumable,
    }


def check_params(declared: list[Fields], given: Fields) -> Fields:
    """`given` with each value checked and each default filled in. Raises StepError invalid_params, which names the
    parameter and its bound."""
    keys = {parameter["key"] for parameter in declared}
    for key in given:
        if key not in keys:
            raise _refused_value(key, "the step declares no such parameter")
    checked: Fields = {}
    for parameter in declared:
        key = parameter["key"]
        value = given.get(key)
        if value is None:
            value = parameter.get("default")
        if value is not None:
            checked[key] = check_value(parameter, value)
        elif parameter.get("required"):
            raise _refused_value(key, "is missing")
    return checked


def check_value(parameter: Fields, value: Any) -> Any:
    """The value as the algorithm gets it. Raises StepError invalid_params."""
    key, kind = parameter["key"], parameter["type"]
    if kind in ("int", "float"):
        return _check_number(parameter, value)
    if kind == "bool" and not isinstance(value, bool):
        raise _refused_value(key, "must be true or false")
    if kind == "enum" and value not in parameter["choices"]:
        raise _refused_value(key, f"must be one of {', '.join(parameter['choices'])}")
    if kind == "rect" and not (isinstance(value, str) and _RECT.fullmatch(value)):
        raise _refused_value(key, 'must be "x,y,width,height" in whole pixels, with a size')
    if kind == "string":
        _check_string(parameter, value)
    return value


def _check_number(parameter: Fields, value: Any) -> Any:
    key = parameter["key"]
    if parameter["type"] == "int" and (type(value) is not int or not -(2**63) <= value < 2**63):
        raise _refused_value(key, "must be a whole number")
    if type(value) not in (int, float):
        raise _refused_value(key, "must be a number")
    if not abs(value) <= sys.float_info.max:
        raise _refused_value(key, "must be a finite number")
    least, most = parameter.get("min"), parameter.get("max")
    if least is not None and value < least:
        raise _refused_value(key, f"is {_shown(value)}; at least {_shown(least)} is allowed")
    if most is not None and value > most:
        raise _refused_value(key, f"is {_shown(value)}; at most {_shown(most)} is allowed")
    return float(value) if parameter["type"] == "float" else value


def _shown(number: float) -> str:
    return repr(number).removesuffix(".0")


def _check_string(parameter: Fields, value: Any) -> None:
    key = parameter["key"]
    if not isinstance(value, str):
        raise _refused_value(key, "must be text")
    if len(value.encode("utf-8", "surrogatepass")) > STRING_BYTES:
        raise _refused_value(key, f"has more than {STRING_BYTES} bytes")
    least, most = parameter.get("min_length"), parameter.get("max_length")
    if least is not None and len(value) < least:
        raise _refused_value(key, f"has {len(value)} characters; at least {least} are needed")
    if most is not None and len(value) > most:
        raise _refused_value(key, f"has {len(value)} characters; at most {most} are allowed")
    pattern = parameter.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        raise _refused_value(key, f"does not fit the pattern {pattern}")


def _step(step: Any, index: int) -> Fields:
    where = f"get_info: steps[{index - 1}]"
    if not isinstance(step, dict):
        raise _refused(where, "must be an object")
    if type(step.get("index")) is not int or step["index"] != index:
        raise _refused(f"{where}.index", f"must be {index}: steps are counted from 1, in their order")
    params = [
        check_declaration(parameter, f"{where}.params[{number}]")
        for number, parameter in enumerate(_list(step, "params", f"{where}."))
    ]
    for number, parameter in enumerate(params):
        if any(parameter["key"] == earlier["key"] for earlier in params[:number]):
            raise _refused(f"{where}.params[{number}].key", "is there twice")
    return {"index": index, "name": _text(step, "name", f"{where}.", needed=True), "params": params}


def check_declaration(parameter: Any, where: str) -> Fields:
    """A parameter as get_info declares it. Raises StepError invalid_result, which names the field below `where`."""
    if not isinstance(parameter, dict):
        raise _refused(where, "must be an object")
    kind = parameter.get("type")
    if kind not in TYPES:
        raise _refused(f"{where}.type", f'"{kind}" is none of {", ".join(TYPES)}')
    declared: Fields = {"key": _text(parameter, "key", f"{where}.", needed=True), "type": kind}
    declared["required"] = parameter.get("required") or False
    if not isinstance(declared["required"], bool):
        raise _refused(f"{where}.required", "must be true or false")
    for name in ("min", "max", "min_length", "max_length"):
        value = parameter.get(name)
        if value is None:
            continue
        if type(value) not in (int, float) or (name.endswith("length") and (type(value) is not int or value < 0)):
            raise _refused(f"{where}.{name}", "must be a number")
        declared[name] = value
    for name in ("pattern", "unit", "description"):
        if text := _text(parameter, name, f"{where}."):
            declared[name] = text
    choices = _list(parameter, "choices", f"{where}.")
    if not all(isinstance(choice, str) for choice in choices):
        raise _refused(f"{where}.choices", "must be a list of texts")
    if kind == "enum" and not choices:
        raise _refused(f"{where}.choices", "an enum needs some")
    if choices:
        declared["choices"] = list(choices)
    try:
        re.compile(declared.get("pattern", ""))
    except re.error:
        raise _refused(f"{where}.pattern", "is no regular expression") from None
    if (default := parameter.get("default")) is not None:
        try:
            declared["default"] = check_value(declared, default)
        except StepError as error:
            raise _refused(f"{where}.default", error.message) from None
    return declared


def _text(fields: Fields, key: str, where: str, needed: bool = False) -> str:
    value = fields.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value):
        raise _refused(where + key, "must be text with at least one character" if needed else "must be text")
    return value


def _list(fields: Fields, key: str, where: str = "get_info: ", needed: bool = False) -> list[Any]:
    value: Optional[Any] = fields.get(key)
    if value is None and not needed:
        return []
    if not isinstance(value, (list, tuple)):
        raise _refused(where + key, "must be a list")
    return list(value)


def _refused(field: str, reason: str) -> StepError:
    return StepError(f"{field}: {reason}", "invalid_result")


def _refused_value(key: str, reason: str) -> StepError:
    return StepError(f"user_params.{key}: {reason}", "invalid_params")
