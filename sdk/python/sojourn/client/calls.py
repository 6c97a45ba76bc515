"""What can be asked of a server, once for both clients."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, urlencode

from . import errors
from .address import parse_address
from .follow import Follower
from .task import Task
from .transport import ANYTHING, ARRAY, OBJECT, SESSION, TASK, Network, Options, Request, Shape, Transport
from .transport import ARTIFACT, ATTEMPT, STAGE, STEPS, TASK_STATUS, encode_json
from .wire import Patience

TaskOrId = Union[str, Mapping[str, Any]]
PAGE = 1000


class Page(NamedTuple):
    values: List[Dict[str, Any]]
    next_path: str  # empty where there is no more


def read_options(
    url: Optional[str],
    api_key: Optional[str],
    timeout: Optional[float],
    connect_timeout: float,
    read_timeout: float,
    retries: int,
    ssl_context: Any,
) -> Options:
    """What was given, else what the environment says, as for the command line. Errors: ValueError."""
    api_key = os.environ.get("SOJOURN_API_KEY", "") if api_key is None else api_key
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("bad API key: it holds a space, a control character or one that is not ASCII")
    if timeout is None:
        said = os.environ.get("SOJOURN_TIMEOUT") or "900"
        if not said.isdecimal():
            raise ValueError(f"bad SOJOURN_TIMEOUT {said!r}: it must be a whole number of seconds")
        timeout = float(said)
    if min(timeout, connect_timeout, read_timeout) <= 0 or retries < 0:
        raise ValueError("times must be more than 0 s, and retries not less than 0")
    address = parse_address(url or os.environ.get("SOJOURN_URL") or "http://127.0.0.1:8080")
    return Options(address, api_key, timeout, connect_timeout, read_timeout, retries, ssl_context)


def segment(text: str, what: str) -> str:
    """A name as one part of a path."""
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} is a text of at least one character, not {text!r}")
    return quote(text, safe="")


def task_path(task: TaskOrId) -> str:
    return f"/tasks/{segment(task_id_of(task), 'the id of a task')}"


def task_id_of(task: TaskOrId) -> str:
    return task if isinstance(task, str) else str(task["id"])


def session_path(session_id: str) -> str:
    return f"/sessions/{segment(session_id, 'the id of a session')}"


class Calls:
    def __init__(self, network: Network, options: Options) -> None:
        self.transport = Transport(network, options)

    async def run(
        self, body: Mapping[str, Any], wait: Optional[bool], timeout: Optional[float], key: Optional[str]
    ) -> Task:
        fields = dict(body)
        said = fields.pop("wait", True)
        wait = bool(said) if wait is None else wait
        later = fields.get("run_at") is not None  # what such a call answers at once is its task
        if later:
            fields["run_at"] = _time_text(fields["run_at"])
        patience = self.transport.patience(timeout)
        if key is None and self.transport.options.retries:
            key = os.urandom(16).hex()
        # Only what can be asked for again by its key may be waited for in an answer that might get lost.
        is_safe = key is not None
        reply = await self.transport.ask(
            Request(
                "POST",
                "/apps/run",
                body=encode_json({**fields, "wait": wait and is_safe and not later}),
                headers={} if key is None else {"Idempotency-Key": _field_text(key, "idempotency key")},
                is_safe=is_safe,
                next_body=encode_json({**fields, "wait": False}) if is_safe else None,
                answers=TASK,
            ),
            patience,
        )
        task = Task(reply.value)
        if not wait:
            return task
        if not task.is_over:
            task = await self._end_of(task, patience)
        return task.check()

    async def wait(self, task: TaskOrId, timeout: Optional[float]) -> Task:
        return (await self._end_of(task, self.transport.patience(timeout))).check()

    async def task(self, task: TaskOrId) -> Task:
        return Task(await self.do("GET", task_path(task), answers=TASK))

    async def cancel(self, task: TaskOrId) -> Task:
        return Task(await self.do("POST", task_path(task) + "/cancel", answers=TASK_STATUS))

    async def logs(self, task: TaskOrId, start: int) -> List[Dict[str, Any]]:
        return list(await self.do("GET", f"{task_path(task)}/logs?from={start}&limit={PAGE}", answers=ARRAY))

    def follow(self, task: TaskOrId, timeout: Optional[float], sse: bool) -> Follower:
        patience = Patience(timeout, self.transport.options.read_timeout)
        return Follower(self.transport, task_id_of(task), task_path(task) + "/stream", sse, patience)

    async def create_session(self, warm: bool, **fields: Any) -> str:
        """The id of a new session. Not asked again after a lost answer: there might be two.

        A warm one has a key by which it is: its worker may take longer to start than an answer may take to come.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        headers = {}
        if warm:
            body.update(warm=True, wait=True)
            headers = {"Idempotency-Key": os.urandom(16).hex()}
        request = Request(
            "POST", "/sessions", body=encode_json(body), headers=headers, is_safe=warm, answers=SESSION
        )
        reply = await self.transport.ask(request, self.transport.patience(None))
        return str(reply.value["id"])

    async def end_session(self, session_id: str) -> None:
        try:
            await self.do("DELETE", session_path(session_id))
        except errors.SessionNotFound:
            raise
        except errors.SessionGone:  # that is what was asked for
            pass

    async def session_info(self, session_id: str) -> Dict[str, Any]:
        return dict(await self.do("GET", session_path(session_id), answers=SESSION))

    async def keepalive(self, session_id: str) -> Dict[str, Any]:
        return dict(await self.do("POST", session_path(session_id) + "/keepalive", answers=SESSION))

    async def state(self, session_id: str) -> Dict[str, Any]:
        return dict(await self.do("GET", session_path(session_id) + "/state", answers=OBJECT))

    async def get_state(self, session_id: str, key: str, default: Any) -> Any:
        try:
            return await self.do("GET", state_path(session_id, key))
        except errors.NotFound:
            return default

    async def set_state(self, session_id: str, key: str, value: Any) -> None:
        await self.do("PUT", state_path(session_id, key), body=encode_json(value))

    async def delete_state(self, session_id: str, key: str) -> None:
        await self.do("DELETE", state_path(session_id, key))

    async def stage(self, session_id: str) -> Dict[str, Any]:
        return dict(await self.do("GET", session_path(session_id) + "/stage", answers=STAGE))

    async def move_stage(self, session_id: str, stage: str, reason: str) -> Dict[str, Any]:
        body = encode_json({"stage": stage, "reason": reason})
        return dict(await self._once("PUT", session_path(session_id) + "/stage", body, STAGE))

    async def steps(self, session_id: str) -> Dict[str, Any]:
        path = f"{session_path(session_id)}/steps?limit={PAGE}&from="
        steps = dict(await self.do("GET", path + "1", answers=STEPS))
        page = steps["attempts"]
        while len(page) == PAGE:
            page = (await self.do("GET", path + str(page[-1]["number"] + 1), answers=STEPS))["attempts"]
            steps["attempts"] += page
        return steps

    async def change_step(self, session_id: str, name: str, change: str, **fields: Any) -> Dict[str, Any]:
        path = f"{session_path(session_id)}/steps/{segment(name, 'the name of a step')}/{change}"
        body = {name: value for name, value in fields.items() if value is not None}
        return dict(await self._once("POST", path, encode_json(body), ATTEMPT))

    async def artifacts(self, session_id: str) -> List[Dict[str, Any]]:
        return list(await self.do("GET", session_path(session_id) + "/artifacts", answers=ARRAY))

    async def put_artifact(self, session_id: str, path: str, content: bytes, content_type: str) -> Dict[str, Any]:
        headers = {"Content-Type": _field_text(content_type, "content type")}
        request = Request(
            "PUT", artifact_path(session_id, path), body=content, headers=headers, is_safe=True, answers=ARTIFACT
        )
        return dict((await self.transport.ask(request, self.transport.patience(None))).value)

    async def get_artifact(self, session_id: str, path: str, attempt: Optional[int]) -> bytes:
        query = "" if attempt is None else f"?attempt={attempt}"
        request = Request("GET", artifact_path(session_id, path) + query, is_safe=True)
        return await self.transport.fetch(request, self.transport.patience(None))

    async def apps(self) -> List[Dict[str, Any]]:
        return list(await self.do("GET", "/apps", answers=ARRAY))

    async def page(self, path: str) -> Page:
        request = Request("GET", path, is_safe=True, answers=ARRAY)
        reply = await self.transport.ask(request, self.transport.patience(None))
        return Page(reply.value, _next_path(reply.headers.get("link", "")))

    async def do(self, method: str, path: str, body: Optional[bytes] = None, answers: Shape = ANYTHING) -> Any:
        """For what may be done twice."""
        request = Request(method, path, body=body, is_safe=True, answers=answers)
        return (await self.transport.ask(request, self.transport.patience(None))).value

    async def _once(self, method: str, path: str, body: bytes, answers: Shape) -> Any:
        """For what would be done again: not asked again after a lost answer."""
        request = Request(method, path, body=body, answers=answers)
        return (await self.transport.ask(request, self.transport.patience(None))).value

    async def _end_of(self, task: TaskOrId, patience: Patience) -> Task:
        path = task_path(task) + "/stream"
        follower = Follower(self.transport, task_id_of(task), path, False, patience)
        try:
            while not follower.task.is_over:
                await follower.next()
        finally:
            follower.close()
        return follower.task


def state_path(session_id: str, key: str) -> str:
    return f"{session_path(session_id)}/state/{segment(key, 'a key of the state')}"


def artifact_path(session_id: str, path: str) -> str:
    if not isinstance(path, str) or not path:
        raise ValueError(f"the path of an artefact is a text of at least one character, not {path!r}")
    return f"{session_path(session_id)}/artifacts/{quote(path)}"


def failure_of(error: BaseException) -> Dict[str, str]:
    """What a step failed with, as its session's journal keeps it."""
    return {"type": type(error).__name__, "message": str(error)[:4096]}


def sessions_path(
    labels: Optional[Mapping[str, str]],
    filters: Mapping[str, Optional[str]],
) -> str:
    query: List[Tuple[str, str]] = [(name, value) for name, value in filters.items() if value is not None]
    query += [(f"label.{name}", value) for name, value in (labels or {}).items()]
    return "/sessions?" + urlencode([*query, ("limit", str(PAGE))], quote_via=quote)


def events_path(session_id: str, start: int) -> str:
    return f"{session_path(session_id)}/events?from={start}&limit={PAGE}"


def _next_path(link: str) -> str:
    """The path of the page that a Link header calls the next."""
    for part in link.split(","):
        target, _, parameters = part.partition(";")
        if 'rel="next"' in parameters:
            # Only the query: the server does not know under which prefix a proxy shows it.
            return "/sessions?" + target.strip().lstrip("<").rstrip(">").partition("?")[2]
    return ""


def _time_text(time: Any) -> Any:
    if not isinstance(time, datetime):
        return time
    if time.utcoffset() is None:
        raise ValueError(f"bad run_at {time}: it names no time zone")
    return time.isoformat()


def _field_text(text: str, what: str) -> str:
    data = text.encode()
    if not data or any(byte < 32 or byte == 127 for byte in data):
        raise ValueError(f"bad {what} {text!r}: it is empty or holds a control character")
    return data.decode("latin-1")
