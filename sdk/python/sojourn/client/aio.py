"""The client for asyncio: the same names, to be awaited. What a method does and raises is said in client.py."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, List, Mapping, Optional, Type, Union

from . import errors
from .calls import Calls, TaskOrId, events_path, failure_of, read_options, sessions_path
from .follow import Follower
from .task import Task, Update

if TYPE_CHECKING:
    import ssl


class AsyncClient:
    """A Sojourn server, as Client.

    Threads: none of its own, and one event loop at a time; any number of that loop's tasks may use it at once.
    Cancel: a cancelled task that waited for a call closes its connection, and the call goes on.
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
        from .suspending import SuspendingNetwork  # asyncio takes 40 ms, and the other client does without

        options = read_options(url, api_key, timeout, connect_timeout, read_timeout, retries, ssl_context)
        self._calls = Calls(SuspendingNetwork(), options)

    async def run(
        self,
        request: Mapping[str, Any],
        *,
        wait: Optional[bool] = None,
        timeout: Optional[float] = None,
        idempotency_key: Optional[str] = None,
    ) -> Task:
        """Calls an app, and waits for the call's end unless `wait` is false."""
        return await self._calls.run(request, wait, timeout, idempotency_key)

    async def task(self, task: TaskOrId) -> Task:
        """A call as it stands."""
        return await self._calls.task(task)

    async def wait(self, task: TaskOrId, *, timeout: Optional[float] = None) -> Task:
        """A call once it is over."""
        return await self._calls.wait(task, timeout)

    async def cancel(self, task: TaskOrId) -> Task:
        """Asks a call to stop, and does not wait for that."""
        return await self._calls.cancel(task)

    async def logs(self, task: TaskOrId, start: int = 1) -> List[Dict[str, Any]]:
        """What a call said, from the line with this `seq` on, at most 1,000 lines."""
        return await self._calls.logs(task, start)

    def stream(self, task: TaskOrId, *, timeout: Optional[float] = None, sse: bool = False) -> AsyncTaskStream:
        """Follows a call, from now or from its beginning."""
        return AsyncTaskStream(self._calls.follow(task, timeout, sse))

    async def session(
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
    ) -> AsyncSession:
        """A new session, without a call: `async with await client.session("app") as session`.

        `warm`: as for the client that blocks.
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
        return AsyncSession(self, await made)

    def attach(self, session_id: str) -> AsyncSession:
        """The session with this id. Asks nothing of the server."""
        return AsyncSession(self, session_id)

    async def sessions(
        self,
        *,
        status: Optional[str] = None,
        app: Optional[str] = None,
        user_id: Optional[str] = None,
        stage: Optional[str] = None,
        labels: Optional[Mapping[str, str]] = None,
    ) -> AsyncIterator[Dict[str, Any]]:
        """Every session that fits, newest first."""
        path = sessions_path(labels, {"status": status, "app": app, "user_id": user_id, "stage": stage})
        while path:
            page = await self._calls.page(path)
            for session in page.values:
                yield session
            path = page.next_path

    async def apps(self) -> List[Dict[str, Any]]:
        """What the server can run."""
        return await self._calls.apps()

    async def close(self) -> None:
        """Closes the connections; calls go on. The client cannot be used any more."""
        self._calls.transport.close()
        await self._calls.transport.network.sleep(0)  # the loop closes them when it comes to it

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSession:
    """One session of a client. In an `async with` it ends with the block, also by an error or a cancelled task."""

    def __init__(self, client: AsyncClient, session_id: str) -> None:
        self.client = client
        self.id = session_id
        self._calls = client._calls

    async def run(
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
        """Calls the session's app."""
        body = {"session": self.id, "function": function, "input": input, "call_timeout": call_timeout}
        if run_at is not None:
            body["run_at"] = run_at
        if webhook is not None:
            body["webhook"] = webhook
        return await self.client.run(body, wait=wait, timeout=timeout, idempotency_key=idempotency_key)

    async def stream(
        self, input: Any = None, function: Optional[str] = None, *, call_timeout: Optional[int] = None
    ) -> AsyncTaskStream:
        """Calls the session's app and follows the call."""
        return self.client.stream(await self.run(input, function, wait=False, call_timeout=call_timeout))

    async def info(self) -> Dict[str, Any]:
        """The session as the server tells of it, also once it is over."""
        return await self._calls.session_info(self.id)

    async def keepalive(self) -> Dict[str, Any]:
        """Starts the idle time-out anew."""
        return await self._calls.keepalive(self.id)

    async def end(self) -> None:
        """Ends it, if it is not over."""
        await self._calls.end_session(self.id)

    async def state(self) -> Dict[str, Any]:
        """All of its state, as last committed."""
        return await self._calls.state(self.id)

    async def get_state(self, key: str, default: Any = None) -> Any:
        """One value of the state."""
        return await self._calls.get_state(self.id, key, default)

    async def set_state(self, key: str, value: Any) -> None:
        """Sets a value between calls, never under one that runs."""
        await self._calls.set_state(self.id, key, value)

    async def delete_state(self, key: str) -> None:
        """Deletes a value, if it is there."""
        await self._calls.delete_state(self.id, key)

    async def events(self, start: int = 1) -> AsyncIterator[Dict[str, Any]]:
        """Its journal from the event with this `seq` on."""
        while page := (await self._calls.page(events_path(self.id, start))).values:
            for event in page:
                yield event
            start = int(page[-1]["event"]["seq"]) + 1

    async def stage(self) -> Dict[str, Any]:
        """Where its work stands, and what may follow."""
        return await self._calls.stage(self.id)

    async def move_stage(self, stage: str, reason: str = "") -> Dict[str, Any]:
        """Moves it to another stage."""
        return await self._calls.move_stage(self.id, stage, reason)

    async def steps(self) -> Dict[str, Any]:
        """Its steps: "steps_completed", "timing" and all "attempts"."""
        return await self._calls.steps(self.id)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[Dict[str, Any]]:
        """An attempt at a step, as long as an `async with` takes: an exception fails it."""
        attempt = (await self.start_step(name))["attempt"]
        data: Dict[str, Any] = {}
        try:
            yield data
        except BaseException as error:
            with suppress(errors.Error):  # what happened first is what to tell
                await self.fail_step(name, failure_of(error), attempt=attempt, data=data or None)
            raise
        await self.finish_step(name, attempt=attempt, data=data or None)

    async def start_step(self, name: str, *, data: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Begins an attempt at a step, for one that does not end where it begins."""
        return await self._calls.change_step(self.id, name, "start", data=data)

    async def finish_step(
        self, name: str, *, attempt: Optional[int] = None, data: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """It is completed."""
        return await self._calls.change_step(self.id, name, "finish", attempt=attempt, data=data)

    async def fail_step(
        self, name: str, error: Any, *, attempt: Optional[int] = None, data: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """It failed. `error` is any JSON."""
        told = self._calls.change_step(self.id, name, "fail", attempt=attempt, error=error, data=data)
        return await told

    async def report_step(
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
        return await told

    async def artifacts(self) -> List[Dict[str, Any]]:
        """Its artefacts by path, each with the attempts before its newest."""
        return await self._calls.artifacts(self.id)

    async def put_artifact(
        self, path: str, content: bytes, content_type: str = "application/octet-stream"
    ) -> Dict[str, Any]:
        """Keeps a file of its work there."""
        return await self._calls.put_artifact(self.id, path, content, content_type)

    async def get_artifact(self, path: str, attempt: Optional[int] = None) -> bytes:
        """The content of one, in its newest attempt or that one."""
        return await self._calls.get_artifact(self.id, path, attempt)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        try:
            await self.end()
        except errors.Error:
            if error is None:  # else what happened first is what to tell
                raise


class AsyncTaskStream:
    """Each Update of a call, as an asynchronous iterator. One task at a time."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    @property
    def task(self) -> Task:
        """The call as last told."""
        return self._follower.task

    async def outputs(self) -> AsyncIterator[Any]:
        """Only the outputs: the partial ones, then the call's own."""
        async for update in self:
            if "output" in update.changed:
                yield update.task.output

    async def deltas(self) -> AsyncIterator[Any]:
        """Only the deltas."""
        async for update in self:
            if update.seq is not None:
                yield update.delta

    async def result(self) -> Task:
        """The call once it is over."""
        async for _ in self:
            pass
        return self.task.check()

    async def close(self) -> None:
        self._follower.close()

    def __aiter__(self) -> AsyncIterator[Update]:
        return self

    async def __anext__(self) -> Update:
        update = await self._follower.next()
        if update is None:
            raise StopAsyncIteration
        return update

    async def __aenter__(self) -> AsyncTaskStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
