"""Runs the steps of an algorithm in one session: checks what goes in and what comes out, calls the hooks in their order,
measures each step and records it. It needs no server."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any, Callable, Optional, Union

from ..error import Error
from .algorithm import Algorithm, Fields
from .codes import StepError
from .parameters import check_info, check_params
from .results import check_result, error_result, is_fatal
from .session import Session

STATE_KEY = "sojourn.detection"
MESSAGE_LENGTH = 4096  # of a failure in the step's record; the outcome has all of it
INPUT = ("user_params", "shared_mem_id", "image_meta")


class Recorder:
    """Where a runner tells what happened. This one writes log lines to standard error and keeps no records."""

    write: Optional[Callable[[str, str, Fields], None]] = None

    def step_finished(self, record: Fields) -> None: ...


class StepRunner:
    """Serves one session at a time. `make` is an algorithm's class, a function that makes one, or an instance, which is
    set up again after a fatal error. `keeps_state`: whether it accepts the state's changes after a step that worked, and
    drops those of one that failed; a server does both by itself."""

    def __init__(
        self,
        make: Union[Algorithm, Callable[[], Algorithm]],
        recorder: Optional[Recorder] = None,
        keeps_state: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make if not isinstance(make, Algorithm) else lambda: make
        self._recorder = recorder or Recorder()
        self._keeps_state = keeps_state
        self._clock = clock
        self._algorithm: Optional[Algorithm] = None  # None after a fatal error, until the next call
        self._open: Optional[int] = None  # the step that is open
        self._worked = 0.0
        self.info: Fields = {}
        self.raised: Optional[Exception] = None  # by the algorithm, in the step that failed last
        self._set_up()

    def pre_execute(self, session: Session, step_index: int, pid: str = "", **input: Any) -> Fields:
        return self._run(session, step_index, pid, input, ("pre_execute",))

    def execute(self, session: Session, step_index: int, pid: str = "", **input: Any) -> Fields:
        """The outcome: a result with `step_index` and `latency_us`. It never raises for what the algorithm does: what
        fails is an outcome that is not OK, with its code kept."""
        return self._run(session, step_index, pid, input, ("execute",))

    def run_step(self, session: Session, step_index: int, pid: str = "", **input: Any) -> Fields:
        return self._run(session, step_index, pid, input, ("pre_execute", "execute"))

    def reset(self, session: Session) -> None:
        """Closes an open step without on_step_finish, calls the algorithm's reset, and clears the state. Raises
        StepError; the state is then as it was."""
        self._open = None
        algorithm = self._algorithm or self._set_up()
        try:
            _call_hook("reset", "hook_failed", algorithm.reset, session)
        except StepError:
            self._keep(session, False)
            raise
        session.state.clear()
        self._keep(session, True)

    def keep(self, session: Session, key: str, value: Any) -> None:
        """Sets a key of the state for the runner's user, as a step that worked would."""
        session.set(key, value)
        self._keep(session, True)

    def close(self) -> None:
        """Runs teardown, once. Raises StepError."""
        algorithm, self._algorithm = self._algorithm, None
        if algorithm:
            _call_hook("teardown", "hook_failed", algorithm.teardown)

    def _set_up(self) -> Algorithm:
        algorithm: Algorithm = _call_hook("its constructor", "setup_failed", self._make)
        algorithm.logger.bind({}, self._recorder.write)
        self.info = check_info(_call_hook("get_info", "setup_failed", algorithm.get_info))
        _call_hook("setup", "setup_failed", algorithm.setup)
        self._algorithm = algorithm
        return algorithm

    def _run(self, session: Session, step_index: int, pid: str, input: Fields, parts: tuple[str, ...]) -> Fields:
        start = self._clock()
        begun = False
        self.raised = None
        try:
            algorithm = self._algorithm or self._set_up()
            if self._open is not None and self._open != step_index:
                raise StepError(
                    f"step_index is {step_index} while step {self._open} is open; execute that, or reset",
                    "step_not_allowed",
                )
            params = check_params(self._step(step_index)["params"], input.get("user_params") or {})
            self.check_pid(pid)
            begun = True
            self._begin(algorithm, session, step_index, pid)
            shot = (step_index, pid, session, params, input.get("shared_mem_id", ""), input.get("image_meta") or {})
            result = self._run_parts(algorithm, shot, parts)
        except Exception as error:
            self.raised = error
            result = error_result(_step_error(error, "algorithm_failed"))
        outcome = {**result, "step_index": step_index, "latency_us": 0}
        if not begun:
            return outcome
        if self._open is not None:
            self._worked += self._clock() - start
            outcome["latency_us"] = round(self._worked * 1e6)
        if "execute" in parts or result["status"] == "ERROR":
            outcome = self._finish(algorithm, session, outcome)
        self._keep(session, outcome["status"] == "OK")
        return outcome

    def _step(self, step_index: int) -> Fields:
        steps = self.info["steps"]
        if type(step_index) is not int or not 1 <= step_index <= len(steps):
            raise StepError(
                f"step_index is {step_index}; {self.info['name']} has the steps 1 to {len(steps)}", "step_not_allowed"
            )
        step: Fields = steps[step_index - 1]
        return step

    def check_pid(self, pid: str) -> None:
        pids = self.info["supported_pids"]
        if pids and pid not in pids:
            raise StepError(
                f'pid: {self.info["name"]} does not inspect "{pid}"; it takes {", ".join(pids)}', "invalid_pid"
            )

    def _begin(self, algorithm: Algorithm, session: Session, step_index: int, pid: str) -> None:
        """Opens the step, unless it is open."""
        if self._open is not None:
            return
        algorithm.diagnostics.clear()
        algorithm.logger.bind(_ids(session, step_index), self._recorder.write)
        context = {"pid": pid, "trace_id": _trace_id(session)}
        _call_hook("on_step_start", "hook_failed", algorithm.on_step_start, step_index, session, context)
        self._open, self._worked = step_index, 0.0

    def _run_parts(self, algorithm: Algorithm, shot: tuple[Any, ...], parts: tuple[str, ...]) -> Fields:
        found: Fields = {}
        result: Fields = {}
        for phase in parts:
            result = check_result(getattr(algorithm, phase)(*shot), phase)
            if result["status"] == "ERROR":
                return result
            # The verdict is the step's; what was found before the shot stands beside it.
            found = {**found, **result["data"]}
        return {**result, "data": found}

    def _finish(self, algorithm: Algorithm, session: Session, outcome: Fields) -> Fields:
        """The step is over: calls its last hook where its first one worked, and records it."""
        if self._open is not None:
            self._open = None
            shown = {key: outcome[key] for key in ("status", "message", "error_code", "data") if key in outcome}
            shown["data"] = deepcopy(shown["data"])  # the hook may do with it what it likes
            try:
                _call_hook(
                    "on_step_finish", "hook_failed", algorithm.on_step_finish, outcome["step_index"], session, shown
                )
            except StepError as error:
                if outcome["status"] == "OK":
                    self.raised = error
                    outcome = {**outcome, **error_result(error)}
                else:  # the first failure is the outcome; this one is only said
                    algorithm.logger.error(error.message)
        self._record(algorithm, session, outcome)
        algorithm.logger.bind({"session_id": session.id, "trace_id": _trace_id(session)}, self._recorder.write)
        if is_fatal(outcome):
            try:
                self.close()
            except StepError as error:
                algorithm.logger.error(error.message)
        return outcome

    def _record(self, algorithm: Algorithm, session: Session, outcome: Fields) -> None:
        record = {**_ids(session, outcome["step_index"]), "status": outcome["status"]}
        record["latency_us"] = outcome["latency_us"]
        if outcome["status"] == "OK":
            record["result_status"] = outcome["data"]["result_status"]
        else:
            record["error_code"], record["message"] = outcome["error_code"], outcome["message"][:MESSAGE_LENGTH]
        if diagnostics := algorithm.diagnostics.get():
            record["diagnostics"] = diagnostics
        self._recorder.step_finished(record)

    def _keep(self, session: Session, worked: bool) -> None:
        if self._keeps_state:
            session.state.accept() if worked else session.state.discard()


class Detection:
    """All steps of an algorithm for one product, in their order, in one session. What each step answered is kept in the
    state, so that a detection that a crash cut off goes on behind the last step that was made durable, where the
    algorithm says that it is resumable. Raises StepError."""

    def __init__(
        self, runner: StepRunner, session: Session, pid: str, steps: Optional[list[Fields]] = None, resume: bool = False
    ) -> None:
        info = runner.info
        steps = list(steps or [])
        if len(steps) > len(info["steps"]):
            raise StepError(
                f"steps: {len(steps)} are given; {info['name']} has {len(info['steps'])}", "step_not_allowed"
            )
        runner.check_pid(pid)
        self._runner, self._session, self._pid = runner, session, pid
        self._steps = steps + [{}] * (len(info["steps"]) - len(steps))
        self._outcomes: list[Fields] = []
        self.failure: Optional[Fields] = None  # the outcome that ended it
        if resume:
            self._resume()
        else:
            runner.reset(session)

    @property
    def done(self) -> bool:
        return self.failure is not None or len(self._outcomes) == len(self._steps)

    def run_step(self) -> None:
        """Runs the next step. What it did to the state is in place then, and may be made durable."""
        step = self._steps[len(self._outcomes)]
        outcome = self._runner.run_step(self._session, len(self._outcomes) + 1, self._pid, **step)
        self._outcomes.append(outcome)
        if outcome["status"] == "OK":
            try:
                self._runner.keep(self._session, STATE_KEY, {"pid": self._pid, "steps": self._outcomes})
                return
            except (Error, TypeError) as error:
                refused = StepError(f"what the steps answered: {error}", "not_serializable")
                outcome = self._outcomes[-1] = {**outcome, **error_result(refused)}
        self.failure = outcome

    def outcome(self) -> Fields:
        outcome: Fields = {"status": "OK", "message": ""}
        if self.failure:
            outcome = {key: self.failure[key] for key in ("status", "message", "error_code", "step_index")}
        else:
            reasons = [step["data"]["ng_reason"] for step in self._outcomes if step["data"]["result_status"] == "NG"]
            outcome["result_status"] = "NG" if reasons else "OK"
            if reasons:
                outcome["ng_reason"] = reasons[0]
        return {**outcome, "steps": self._outcomes, "latency_us": sum(step["latency_us"] for step in self._outcomes)}

    def _resume(self) -> None:
        name = self._runner.info["name"]
        if not self._runner.info["resumable"]:
            raise StepError(f"resume: {name} is not resumable", "step_not_allowed")
        begun = self._session.get(STATE_KEY)
        if not isinstance(begun, dict):
            raise StepError("resume: no detection was begun", "step_not_allowed")
        if begun.get("pid") != self._pid:
            raise StepError("resume: the detection that was begun is of another pid", "step_not_allowed")
        # Another version of the algorithm may have left it, or somebody who wrote into the state.
        steps = begun.get("steps")
        if not isinstance(steps, list) or len(steps) > len(self._steps) or not all(map(_is_outcome, steps)):
            raise StepError("resume: what is kept of the detection does not fit the algorithm", "step_not_allowed")
        self._outcomes = steps


def _is_outcome(value: Any) -> bool:
    """Whether it is what a step that worked left behind."""
    if not isinstance(value, dict) or type(value.get("latency_us")) is not int:
        return False
    data = value.get("data")
    if not isinstance(data, dict) or "result_status" not in data:
        return False
    return data["result_status"] != "NG" or isinstance(data.get("ng_reason"), str)


def detect(
    runner: StepRunner, session: Session, pid: str, steps: Optional[list[Fields]] = None, resume: bool = False
) -> Fields:
    """The whole of a detection, without a server. What fails is in the outcome."""
    try:
        detection = Detection(runner, session, pid, steps, resume)
        while not detection.done:
            detection.run_step()
        return detection.outcome()
    except StepError as error:
        failed = error_result(error)
        del failed["data"]
        return {**failed, "steps": [], "latency_us": 0}


def _call_hook(name: str, otherwise: str, hook: Callable[..., Any], *arguments: Any) -> Any:
    """Calls it, and names it in what it raises."""
    try:
        return hook(*arguments)
    except Exception as error:
        failed = _step_error(error, otherwise)
        raise StepError(f"{name}: {failed.message}", failed.code.number) from error


def _step_error(error: Exception, otherwise: str) -> StepError:
    if isinstance(error, StepError):
        return error
    if isinstance(error, Error):
        refused = error.code in ("not_serializable", "too_large")
        return StepError(error.message, "not_serializable" if refused else otherwise)
    name = type(error).__name__
    return StepError(f"{name}: {error}" if str(error) else name, otherwise)


def _trace_id(session: Session) -> str:
    """The caller's id for all that belongs together, or else the session's own."""
    given = session.context.get("trace_id")
    return given if isinstance(given, str) else session.id


def _ids(session: Session, step_index: int) -> Fields:
    return {"session_id": session.id, "step_index": step_index, "trace_id": _trace_id(session)}
