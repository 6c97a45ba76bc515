"""The client that blocks."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Type, Union

from . import errors
from .blocking import BlockingNetwork, finish
from .calls import Calls, TaskOrId, events_path, failure_of, read_options, sessions_path
from .follow import Follower
from .task import Task, Update

if TYPE_CHECKING:
    import ssl


class Client:
    """A Sojourn server.

    url              its base URL, else SOJOURN_URL, else http://127.0.0.1:8080
    api_key          the key to show, else SOJOURN_API_KEY, else none
    timeout          seconds that one operation may take in all, else SOJOURN_TIMEOUT, else 900
    connect_timeout  seconds for one connection to be made
    read_timeout     seconds of silence after which a connection counts as dead
    retries          how often something is asked again where that is safe; 0 for never
    ssl_context      for https, else one that trusts what the system trusts

    Errors: ValueError for settings that cannot be. Every method raises what the server refuses as an Error of its
    class, ConnectionFailed where there is no server, and TimedOut past its time.
    Retries: a request that did not arrive, and one that the server refused as too busy (429, 503), is asked again.
    After a lost answer only what may be done twice is: reading, ending, setting state, and calls, which carry an
    idempotency key of their own so that they run once.
    Threads: any number may use one client and its sessions at once. A forked child opens its own connections.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        *,
        timeout: Optional[float] = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
        retries: int = 5,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        options = read_options(url, api_key, timeout, connect_timeout, read_timeout, retries, ssl_context)
        self._calls = Calls(BlockingNetwork(), options)

    def run(
        self,
        request: Mapping[str, Any],
        *,
        wait: Optional[bool] = None,
        timeout: Optional[float] = None,
        idempotency_key: Optional[str] = None,
    ) -> Task:
        """Calls an app, and waits for the call's end unless `wait` is false.

        `request` has the fields of POST /apps/run: "app", "function", "input", "session" ("new", an id, or none for
        a session that ends with the call), "session_timeout" and so on. Its "wait" counts where `wait` is not given.
        "run_at" may be a datetime with a time zone.
        Errors: CallFailed for a call that failed; with TimedOut and ConnectionFailed it may still go on, and the
        error's `task` is the call if it is known.
        """
        return finish(self._calls.run(request, wait, timeout, idempotency_key))

    def task(self, task: TaskOrId) -> Task:
        """A call as it stands. Errors: TaskNotFound; none for a call that failed."""
        return finish(self._calls.task(task))

    def wait(self, task: TaskOrId, *, timeout: Optional[float] = None) -> Task:
        """A call once it is over. Errors: CallFailed, TaskNotFound."""
        return finish(self._calls.wait(task, timeout))

    def cancel(self, task: TaskOrId) -> Task:
        """Asks a call to stop, and does not wait for that; of one that is over nothing changes.

        Who may not read, by the key's scopes, gets only where the call stands: id, status, status_text, updated_at.
        """
        return finish(self._calls.cancel(task))

    def logs(self, task: TaskOrId, start: int = 1) -> List[Dict[str, Any]]:
        """What a call said, from the line with this `seq` on, at most 1,000 lines. Errors: TaskNotFound."""
        return finish(self._calls.logs(task, start))

    def stream(self, task: TaskOrId, *, timeout: Optional[float] = None, sse: bool = False) -> TaskStream:
        """Follows a call, from now or from its beginning; without `timeout` as long as it takes.

        `sse` asks for server-sent events in place of lines of JSON, for proxies that hold those back.
        """
        return TaskStream(self._calls.follow(task, timeout, sse))

    def session(
        self,
        app: Optional[str] = None,
        *,
        session_timeout: Optional[int] = None,
        lifetime: Optional[int] = None,
        context: Optional[Mapping[str, Any]] = None,
        setup: Any = None,
        labels: Optional[Mapping[str, str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        user_id: Optional[str] = None,
        lifecycle: Optional[str] = None,
        warm: bool = False,
    ) -> Session:
        """A new session, without a call; without `app` one of state and events only.

        With `warm` its worker is opened now, and it is there once that is ready for the first call. Errors: what
        the app could not be started with; `details["session_id"]` names the session.
        """
        made = self._calls.create_session(
            app=app,
            session_timeout=session_timeout,
            lifetime=lifetime,
            context=context,
            setup=setup,
            labels=labels,
            metadata=metadata,
            user_id=user_id,
            lifecycle=lifecycle,
            warm=warm,
        )
        return Session(self, finish(made))

    def attach(self, session_id: str) -> Session:
        """The session with this id. Asks nothing of the server."""
        return Session(self, session_id)

    def sessions(
        self,
        *,
        status: Optional[str] = None,
        app: Optional[str] = None,
        user_id: Optional[str] = None,
        stage: Optional[str] = None,
        labels: Optional[Mapping[str, str]] = None,
    ) -> Iterator[Dict[str, Any]]:
        """Every session that fits, newest first. `status` is active, ended, expired or failed."""
        path = sessions_path(labels, {"status": status, "app": app, "user_id": user_id, "stage": stage})
        while path:
            page = finish(self._calls.page(path))
            yield from page.values
            path = page.next_path

    def apps(self) -> List[Dict[str, Any]]:
        """What the server can run."""
        return finish(self._calls.apps())

    def close(self) -> None:
        """Closes the connections; calls go on. The client cannot be used any more."""
        self._calls.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session:
    """One session of a client. In a with statement it ends with the block, also by an error.

    Its calls run one after the other, in the order in which they arrive. Threads: any number at once.
    """

    def __init__(self, client: Client, session_id: str) -> None:
        self.client = client
        self.id = session_id
        self._calls = client._calls

    def run(
        self,
        input: Any = None,
        function: Optional[str] = None,
        *,
        wait: bool = True,
        call_timeout: Optional[int] = None,
        run_at: Union[datetime, str, None] = None,
        webhook: Optional[str] = None,
        timeout: Optional[float] = None,
        idempotency_key: Optional[str] = None,
    ) -> Task:
        """Calls the session's app; as Client.run. `call_timeout` is how long the call itself may take, `run_at` when
        it is to run, `webhook` the URL that its end is told to.

        Errors: also SessionGone where the session is over.
        """
        body = {"session": self.id, "function": function, "input": input, "call_timeout": call_timeout}
        if run_at is not None:
            body["run_at"] = run_at
        if webhook is not None:
            body["webhook"] = webhook
        return self.client.run(body, wait=wait, timeout=timeout, idempotency_key=idempotency_key)

    def stream(
        self, input: Any = None, function: Optional[str] = None, *, call_timeout: Optional[int] = None
    ) -> TaskStream:
        """Calls the session's app and follows the call."""
        return self.client.stream(self.run(input, function, wait=False, call_timeout=call_timeout))

    def info(self) -> Dict[str, Any]:
        """The session as the server tells of it, also once it is over. Errors: SessionNotFound."""
        return finish(self._calls.session_info(self.id))

    def keepalive(self) -> Dict[str, Any]:
        """Starts the idle time-out anew. Errors: SessionGone."""
        return finish(self._calls.keepalive(self.id))

    def end(self) -> None:
        """Ends it, if it is not over. Errors: SessionNotFound."""
        finish(self._calls.end_session(self.id))

    def state(self) -> Dict[str, Any]:
        """All of its state, as last committed."""
        return finish(self._calls.state(self.id))

    def get_state(self, key: str, default: Any = None) -> Any:
        """One value of the state."""
        return finish(self._calls.get_state(self.id, key, default))

    def set_state(self, key: str, value: Any) -> None:
        """Sets a value between calls, never under one that runs."""
        finish(self._calls.set_state(self.id, key, value))

    def delete_state(self, key: str) -> None:
        """Deletes a value, if it is there."""
        finish(self._calls.delete_state(self.id, key))

    def events(self, start: int = 1) -> Iterator[Dict[str, Any]]:
        """Its journal from the event with this `seq` on, each as {"event": ..., "hash": ...}."""
        while page := finish(self._calls.page(events_path(self.id, start))).values:
            yield from page
            start = int(page[-1]["event"]["seq"]) + 1

    def stage(self) -> Dict[str, Any]:
        """Where its work stands, and what may follow."""
        return finish(self._calls.stage(self.id))

    def move_stage(self, stage: str, reason: str = "") -> Dict[str, Any]:
        """Moves it to another stage. Errors: StageNotAllowed, with the allowed ones in its details."""
        return finish(self._calls.move_stage(self.id, stage, reason))

    def steps(self) -> Dict[str, Any]:
        """Its steps: "steps_completed", "timing" and all "attempts"."""
        return finish(self._calls.steps(self.id))

    @contextmanager
    def step(self, name: str) -> Iterator[Dict[str, Any]]:
        """An attempt at a step, as long as a `with` statement takes: an exception fails it.

        What is put into the dictionary that it gives is kept with the attempt's end, as its `data`.
        Retries: none after a lost answer, for the attempt may have been begun or ended.
        """
        attempt = self.start_step(name)["attempt"]
        data: Dict[str, Any] = {}
        try:
            yield data
        except BaseException as error:
            with suppress(errors.Error):  # what happened first is what to tell
                self.fail_step(name, failure_of(error), attempt=attempt, data=data or None)
            raise
        self.finish_step(name, attempt=attempt, data=data or None)

    def start_step(self, name: str, *, data: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Begins an attempt at a step, for one that does not end where it begins."""
        return finish(self._calls.change_step(self.id, name, "start", data=data))

    def finish_step(
        self, name: str, *, attempt: Optional[int] = None, data: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """The newest attempt that runs, or that one, is completed. Errors: StepNotStarted."""
        return finish(self._calls.change_step(self.id, name, "finish", attempt=attempt, data=data))

    def fail_step(
        self, name: str, error: Any, *, attempt: Optional[int] = None, data: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """It failed. `error` is any JSON. Errors: StepNotStarted."""
        told = self._calls.change_step(self.id, name, "fail", attempt=attempt, error=error, data=data)
        return finish(told)

    def report_step(
        self,
        name: str,
        duration_ms: int,
        *,
        failed: bool = False,
        error: Any = None,
        data: Optional[Mapping[str, Any]] = None,
    ) -> Dict[str, Any]:
        """Tells of an attempt at a step that the caller measured."""
        told = self._calls.change_step(
            self.id, name, "report", duration_ms=duration_ms, failed=failed, error=error, data=data
        )
        return finish(told)

    def artifacts(self) -> List[Dict[str, Any]]:
        """Its artefacts by path, each with the attempts before its newest."""
        return finish(self._calls.artifacts(self.id))

    def put_artifact(
        self, path: str, content: bytes, content_type: str = "application/octet-stream"
    ) -> Dict[str, Any]:
        """Keeps a file of its work there, as another attempt where one is there with another content."""
        return finish(self._calls.put_artifact(self.id, path, content, content_type))

    def get_artifact(self, path: str, attempt: Optional[int] = None) -> bytes:
        """The content of one, in its newest attempt or that one."""
        return finish(self._calls.get_artifact(self.id, path, attempt))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        try:
            self.end()
        except errors.Error:
            if error is None:  # else what happened first is what to tell
                raise


class TaskStream:
    """Each Update of a call, as an iterator; the last one is the call's end. A lost connection is replaced.

    After the last update of a call that failed the iterator raises CallFailed. What came while no connection was
    is told as the state it led to, but deltas of that time are lost. Leaving early ends nothing but the stream.
    Threads: one at a time.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    @property
    def task(self) -> Task:
        """The call as last told."""
        return self._follower.task

    def outputs(self) -> Iterator[Any]:
        """Only the outputs: the partial ones, then the call's own."""
        for update in self:
            if "output" in update.changed:
                yield update.task.output

    def deltas(self) -> Iterator[Any]:
        """Only the deltas."""
        for update in self:
            if update.seq is not None:
                yield update.delta

    def result(self) -> Task:
        """The call once it is over. Errors: CallFailed."""
        for _ in self:
            pass
        return self.task.check()

    def close(self) -> None:
        self._follower.close()

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        update = finish(self._follower.next())
        if update is None:
            raise StopIteration
        return update

    def __enter__(self) -> TaskStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
