"""Questions to the server in the middle of a call, and who waits for their answers."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Callable

from .error import Error
from .watcher import Watcher

Frame = dict[str, Any]

_GONE: Frame = {"error": {"code": "unavailable", "message": "the server is gone", "retryable": True}}


class Answers:
    """Each question has a key of its own: "saved", "noted-7", or the id of an app call."""

    def __init__(self, watcher: Watcher, read_on: Callable[[], None]) -> None:
        """`read_on` is called when a question that was asked between two calls has its answer."""
        self._watcher = watcher
        self._read_on = read_on
        self._takers: dict[str, Callable[[Frame], None]] = {}
        self._gone = False

    def ask(self, key: str, send: Callable[[], None]) -> Frame:
        """Sends a question and waits for its answer. Any thread."""
        thread = threading.current_thread()
        if thread is self._watcher.thread:
            raise Error("invalid_request", "on_cancel cannot wait for the server", False)
        answer: SimpleQueue[Frame] = SimpleQueue()
        between = thread is threading.main_thread() and not self._watcher.working
        if between:  # nobody reads now
            self._watcher.begin()
        try:
            self._expect(key, answer.put)
            send()
            self._watcher.hurry()
            return answer.get()
        finally:
            self._takers.pop(key, None)
            if between:
                self._watcher.end()
                self._read_on()

    async def ask_async(self, key: str, send: Callable[[], None]) -> Frame:
        """Likewise, while the event loop goes on; when it is cancelled, nobody waits for the answer any more."""
        import asyncio  # apps without async functions start sooner without it

        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Frame] = loop.create_future()

        def settle(frame: Frame) -> None:
            if not answer.done():
                answer.set_result(frame)

        self._expect(key, lambda frame: loop.call_soon_threadsafe(settle, frame))
        try:
            send()
            self._watcher.hurry()
            return await answer
        finally:
            self._takers.pop(key, None)

    def _expect(self, key: str, take: Callable[[Frame], Any]) -> None:
        if key in self._takers:
            raise Error("conflict", f"the server has not answered yet what was asked before ({key})", False)
        self._takers[key] = take
        if self._gone:
            self.give_up()

    def take(self, frame: Frame) -> bool:
        """Hands an answer to who waits for it; one that nobody waits for any more is dropped. Whether it is one."""
        kind = frame["type"]
        if kind == "saved":
            key = "saved"
        elif kind == "noted":
            key = f"noted-{frame.get('n')}"
        elif kind == "app_result":
            key = str(frame.get("call_id"))
        else:
            return False
        taker = self._takers.pop(key, None)
        if taker:
            taker(frame)
        return True

    def give_up(self) -> None:
        """The server is gone: whoever waits for it, or will, learns that."""
        self._gone = True
        for key in list(self._takers):
            taker = self._takers.pop(key, None)
            if taker:
                taker(_GONE)
