"""What a step answers, on two levels: did the call work (status OK or ERROR), and is the product good (result_status OK
or NG). Both are checked, in the same words as in C++ (sdk/steps_cases.json)."""

from __future__ import annotations

from typing import Any, Optional

from ..values import VALUE_BYTES, Refused, dumps, loads, size
from .codes import StepError, find_code, readable

MOST_DEFECTS = 20
REASON_LENGTH = 50

Fields = dict[str, Any]


def check_result(result: Any, phase: str) -> Fields:
    """A copy of a result that `phase` ("pre_execute" or "execute") may answer, with its message, and with its error_code
    where the call did not work. Raises StepError invalid_result or not_serializable, which names the field."""
    if not isinstance(result, dict):
        raise StepError(f"{phase}: must return a dict, not {type(result).__name__}", "invalid_result")
    status = result.get("status")
    if status not in ("OK", "ERROR"):
        raise _refused("status", "must be OK or ERROR")
    checked: Fields = {"status": status, "message": _text(result, "message")}
    error_code = _text(result, "error_code")
    data = result.get("data")
    if data is None and status == "OK":
        raise _refused("data", "OK needs it")
    if data is not None and not isinstance(data, dict):
        raise _refused("data", "must be an object")
    data = _copy(data)
    if status == "ERROR":
        if not checked["message"]:
            raise _refused("message", "ERROR needs one")
        checked["error_code"] = error_code or "1000"
    elif phase == "execute":
        _check_verdict(data)
    else:
        if data.get("result_status") is not None:
            raise _refused("data.result_status", "pre_execute gives no verdict")
        _check_rects(data, "calibration_rects", None)
    checked["data"] = data or {}
    return checked


def error_result(error: StepError) -> Fields:
    return {"status": "ERROR", "message": error.message, "error_code": error.code.number, "data": {}}


def is_fatal(result: Fields) -> bool:
    """Whether the algorithm cannot go on after it."""
    code = find_code(result.get("error_code", ""))
    return result["status"] == "ERROR" and code is not None and code.fatal


def _check_verdict(data: Fields) -> None:
    verdict = data.get("result_status")
    if verdict not in ("OK", "NG"):
        raise _refused("data.result_status", "must be OK or NG")
    has_defects = _check_rects(data, "defect_rects", MOST_DEFECTS)
    _check_rects(data, "position_rects", None)
    if verdict == "OK":
        return
    reason = data.get("ng_reason")
    if not isinstance(reason, str) or not reason:
        raise _refused("data.ng_reason", "NG needs a reason")
    if len(reason) > REASON_LENGTH:
        raise _refused("data.ng_reason", f"has more than {REASON_LENGTH} characters")
    if not has_defects:
        raise _refused("data.defect_rects", "NG needs the list of defects, which may be empty")


def _check_rects(data: Fields, key: str, most: Optional[int]) -> bool:
    """Whether the list is there."""
    rects = data.get(key)
    if rects is None:
        return False
    if not isinstance(rects, (list, tuple)):
        raise _refused(f"data.{key}", "must be a list of rectangles")
    if most is not None and len(rects) > most:
        raise _refused(f"data.{key}", f"has {len(rects)} rectangles; at most {most} are allowed")
    for index, rect in enumerate(rects):
        _check_rect(f"data.{key}[{index}]", rect)
    return True


def _check_rect(field: str, rect: Any) -> None:
    if not isinstance(rect, dict):
        raise _refused(field, "must be an object with x, y, width and height")
    for key, least in (("x", 0), ("y", 0), ("width", 1), ("height", 1)):
        value = rect.get(key)
        if type(value) is not int or value < least:
            raise _refused(f"{field}.{key}", f"must be a whole number, at least {least}")
    if not isinstance(rect.get("label", ""), (str, type(None))):
        raise _refused(f"{field}.label", "must be text")
    score = rect.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1):
        raise _refused(f"{field}.score", "must be a number from 0 to 1")


def _copy(data: Any) -> Any:
    """Of all of it: the algorithm may go on with what it answered."""
    try:
        text = dumps(data)
    except Refused as refused:
        place = refused.pointer or "(the value itself)"
        raise StepError(f"data: {place} {refused.reason}", "not_serializable") from None
    if size(text) > VALUE_BYTES // 2:
        raise StepError(f"data: has {size(text)} bytes; at most {VALUE_BYTES // 2} are allowed", "not_serializable")
    return loads(text)


def _text(result: Fields, key: str) -> str:
    value = result.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _refused(key, "must be text")
    return readable(value)


def _refused(field: str, reason: str) -> StepError:
    return StepError(f"{field}: {reason}", "invalid_result")
