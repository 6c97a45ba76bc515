"""An algorithm as an app: its functions are info, pre_execute, execute, reset and detect."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Collection, Optional, Union

from ..app import App
from ..error import Error, traceback_of
from ..session import Session as ServedSession
from .algorithm import Algorithm, Fields
from .codes import StepError, find_code
from .images import is_image_id, remove_image
from .results import error_result, is_fatal
from .runner import Detection, Recorder, StepRunner
from .session import Session

_STEP_FIELDS = ("user_params", "shared_mem_id", "image_meta")


def app(make: Union[Algorithm, Callable[[], Algorithm]]) -> type[App]:
    """The app, for sojourn.serve, whose sessions are each served by an algorithm of their own: `make` is its class, or
    an instance, of which each session's process has its own.

    A step that fails fails its call: app_error with error_code, error (the code's name), recoverable and step_index in
    its details, and the session's state as it was before. `detect` makes each step durable as it ends, and shows what
    it has so far as partial output.
    """

    class AlgorithmApp(_AlgorithmApp):
        _make = staticmethod(make)

    return AlgorithmApp


class _AlgorithmApp(App):
    _make: Union[Algorithm, Callable[[], Algorithm]]

    def setup(self, session: ServedSession) -> None:
        self._session = Session(session.id, session.context, session.state)
        try:
            self._runner = StepRunner(self._make, _Journal(session), keeps_state=False)
        except StepError as error:
            raise _call_error(error_result(error), error) from error

    def unload(self) -> None:
        self._runner.close()

    def _take_images(self, *steps: Fields) -> None:
        """From here on each is the session's, also where this process dies."""
        resources = self.session.resources
        for step in steps:
            id = step.get("shared_mem_id")
            if is_image_id(id) and id not in resources:
                resources.add(id, "image", partial(remove_image, id), cleanup_note={"shm": f"/{id}"})

    def _release_images(self, but: Collection[str] = ()) -> None:
        for resource in list(self.session.resources):
            if resource.kind == "image" and resource.id not in but:
                resource.cleanup()
                self.session.resources.release(resource.id)

    def info(self) -> Fields:
        return self._runner.info

    def pre_execute(self, input: Any) -> Fields:
        return self._step(self._runner.pre_execute, input)

    def execute(self, input: Any) -> Fields:
        return self._step(self._runner.execute, input)

    def _step(self, run: Callable[..., Fields], input: Any) -> Fields:
        step = _step_input(input)
        self._take_images(step)
        return self._worked(run(self._session, **step))

    def _worked(self, outcome: Fields) -> Fields:
        """The outcome of a step that worked. Raises Error for one that did not."""
        if outcome["status"] == "ERROR":
            raise _call_error(outcome, self._runner.raised)
        return outcome

    def reset(self) -> None:
        try:
            self._runner.reset(self._session)
        except StepError as error:
            raise _call_error(error_result(error), error) from error
        self._release_images()

    def detect(self, session: ServedSession, input: Any) -> Fields:
        fields = _detection_input(input)
        # Its pictures may be those of the last one.
        self._take_images(*fields["steps"])
        self._release_images(but={step["shared_mem_id"] for step in fields["steps"] if "shared_mem_id" in step})
        try:
            detection = Detection(self._runner, self._session, **fields)
        except StepError as error:
            raise _call_error(error_result(error), error) from error
        while not detection.done:
            if session.cancel_requested:
                raise Error("cancelled", "the detection was cancelled between two steps", False)
            detection.run_step()
            if not detection.done:
                session.checkpoint()
                session.emit(detection.outcome())
        if detection.failure:
            self._worked(detection.failure)
        return detection.outcome()


class _Journal(Recorder):
    """Takes what the algorithm says to the served session's journal."""

    def __init__(self, session: ServedSession) -> None:
        self._session = session
        self.write = self._write

    def _write(self, level: str, message: str, fields: Fields) -> None:
        self._session.log.line(level, message, fields)

    def step_finished(self, record: Fields) -> None:
        self._session.record("algorithm.step", record)


def _call_error(failed: Fields, raised: Optional[Exception]) -> Error:
    """`raised` is what the algorithm failed with; where it did not mean to, its author wants to know the line."""
    details: Fields = {"error_code": failed["error_code"], "recoverable": not is_fatal(failed)}
    if code := find_code(failed["error_code"]):
        details["error"] = code.name
    if "step_index" in failed:
        details["step_index"] = failed["step_index"]
    cause = raised.__cause__ if isinstance(raised, StepError) else raised
    if cause is not None and not isinstance(cause, (StepError, Error)):
        details.update(type=type(cause).__qualname__, traceback=traceback_of(cause))
    return Error("app_error", failed["message"], False, details)


def _step_input(input: Any) -> Fields:
    fields = _fields(input, "input", ("step_index", "pid", *_STEP_FIELDS))
    index = fields.get("step_index")
    if index is None:
        raise _refused("input.step_index", "is missing; the first step is 1")
    if type(index) is not int or index < 1:
        raise _refused("input.step_index", "must be a whole number, at least 1")
    return fields


def _detection_input(input: Any) -> Fields:
    fields = _fields(input, "input", ("pid", "steps", "resume"))
    fields.setdefault("pid", "")
    steps = fields.get("steps", [])
    if not isinstance(steps, list):
        raise _refused("input.steps", "must be a list")
    fields["steps"] = [_fields(step, f"input.steps[{index}]", _STEP_FIELDS) for index, step in enumerate(steps)]
    return fields


_KINDS: dict[str, tuple[type, str]] = {
    "pid": (str, "text"),
    "shared_mem_id": (str, "text"),
    "user_params": (dict, "an object"),
    "image_meta": (dict, "an object"),
    "resume": (bool, "true or false"),
}


def _fields(value: Any, where: str, known: tuple[str, ...]) -> Fields:
    """The fields of one object of the input, those that are null left out. Raises Error for any that is not known."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused(where, "must be an object")
    for key, field in value.items():
        if key not in known:
            raise _refused(f"{where}.{key}", f"is not known; it may have {', '.join(known)}")
        if key in _KINDS and field is not None and not isinstance(field, _KINDS[key][0]):
            raise _refused(f"{where}.{key}", f"must be {_KINDS[key][1]}")
    return {key: field for key, field in value.items() if field is not None}


def _refused(field: str, reason: str) -> Error:
    return Error("invalid_request", f"{field}: {reason}", False)
