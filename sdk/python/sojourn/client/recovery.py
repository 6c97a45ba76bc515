"""One session for as long as a caller runs, whatever becomes of each: the recovery pattern of seed 004."""

from __future__ import annotations

import threading
from typing import Any, Awaitable, Callable, Optional

from .aio import AsyncClient, AsyncSession
from .client import Client, Session
from .errors import CallFailed, SessionGone
from .task import Task


class SessionManager:
    """Runs calls in a session of its own, and makes a new one when that is gone.

    timeout  the session's idle time-out in seconds, else the app's
    rebuild  is called with each new session before its first call, to load again what the old one held in memory

    Only a call that was not taken in is run again. One whose worker was lost meanwhile (WorkerLost with a `task`) may
    have done something already, so it raises; the next call gets a new session if there has to be one.
    Threads: any number; one of them makes the new session, the others wait for it.
    """

    def __init__(
        self,
        client: Client,
        app: str,
        timeout: Optional[int] = None,
        rebuild: Optional[Callable[[Session], Any]] = None,
    ) -> None:
        self.client = client
        self.app = app
        self.timeout = timeout
        self._rebuild = rebuild
        self._session: Optional[Session] = None
        self._lock = threading.Lock()

    @property
    def session_id(self) -> Optional[str]:
        """That of the session, or None while there is none."""
        session = self._session
        return session.id if session else None

    def ensure_session(self) -> str:
        """The session's id; makes one if there is none. A `rebuild` that fails ends it and raises."""
        return self._ensured().id

    def run(self, input: Any = None, function: Optional[str] = None, **options: Any) -> Task:
        """As Session.run."""
        session = self._ensured()
        try:
            return session.run(input, function, **options)
        except SessionGone as error:
            if isinstance(error, CallFailed):
                raise
        self._forget(session)
        return self._ensured().run(input, function, **options)

    def end(self) -> None:
        """Ends the session, if there is one. The next call makes another."""
        with self._lock:
            session, self._session = self._session, None
        if session:
            session.end()

    def _ensured(self) -> Session:
        with self._lock:
            if self._session is None:
                session = self.client.session(self.app, session_timeout=self.timeout)
                try:
                    if self._rebuild:
                        self._rebuild(session)
                except BaseException as error:
                    session.__exit__(type(error), error, None)
                    raise
                self._session = session
            return self._session

    def _forget(self, session: Session) -> None:
        with self._lock:
            if self._session is session:  # else another thread did
                self._session = None

    def __enter__(self) -> SessionManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class AsyncSessionManager:
    """The same for AsyncClient; `rebuild` is awaited."""

    def __init__(
        self,
        client: AsyncClient,
        app: str,
        timeout: Optional[int] = None,
        rebuild: Optional[Callable[[AsyncSession], Awaitable[Any]]] = None,
    ) -> None:
        import asyncio  # takes 40 ms, and the other manager does without

        self.client = client
        self.app = app
        self.timeout = timeout
        self._rebuild = rebuild
        self._session: Optional[AsyncSession] = None
        self._lock = asyncio.Lock()

    @property
    def session_id(self) -> Optional[str]:
        """That of the session, or None while there is none."""
        return self._session.id if self._session else None

    async def ensure_session(self) -> str:
        """The session's id; makes one if there is none."""
        return (await self._ensured()).id

    async def run(self, input: Any = None, function: Optional[str] = None, **options: Any) -> Task:
        """As AsyncSession.run."""
        session = await self._ensured()
        try:
            return await session.run(input, function, **options)
        except SessionGone as error:
            if isinstance(error, CallFailed):
                raise
        if self._session is session:  # else another task made a new one
            self._session = None
        return await (await self._ensured()).run(input, function, **options)

    async def end(self) -> None:
        """Ends the session, if there is one."""
        session, self._session = self._session, None
        if session:
            await session.end()

    async def _ensured(self) -> AsyncSession:
        async with self._lock:
            if self._session is None:
                session = await self.client.session(self.app, session_timeout=self.timeout)
                try:
                    if self._rebuild:
                        await self._rebuild(session)
                except BaseException as error:
                    await session.__aexit__(type(error), error, None)
                    raise
                self._session = session
            return self._session

    async def __aenter__(self) -> AsyncSessionManager:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
