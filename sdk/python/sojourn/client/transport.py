"""Asks the server: on connections that are kept open, again where that is safe, and with an error of the right class.

What is asked again: anything that surely did not arrive (nothing listens there), or that the server refused with 429
or 503 and called retryable; and what is safe to do twice also after an answer that did not come or broke off. Between
two attempts it waits 0.1 s, then twice as long each time, up to 5 s, with jitter, and at least what Retry-After says.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from . import errors
from .address import Address
from .wire import Answer, BadAnswer, Head, Patience, Pipe

if TYPE_CHECKING:
    import ssl

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LONGEST_RETRY_AFTER = 60.0
CONNECTIONS_KEPT = 32
KEPT_SECONDS = 30.0  # less than half of what the server keeps an idle one


class Shape(NamedTuple):
    """What a server of Sojourn answers: a value of this kind, an object with these fields."""

    kind: type
    fields: Tuple[str, ...] = ()

    def fits(self, value: Any) -> bool:
        if not isinstance(value, self.kind):
            return False
        return not isinstance(value, dict) or all(name in value for name in self.fields)


ANYTHING = Shape(object)
ARRAY = Shape(list)
OBJECT = Shape(dict)
SESSION = Shape(dict, ("id", "status"))
TASK = Shape(dict, ("id", "session_id", "status"))
TASK_STATUS = Shape(dict, ("id", "status"))
STAGE = Shape(dict, ("stage", "version"))
STEPS = Shape(dict, ("steps_completed", "timing", "attempts"))
ATTEMPT = Shape(dict, ("step", "attempt", "status"))
ARTIFACT = Shape(dict, ("path", "attempt", "sha256"))


class Network(Protocol):
    """How to open connections and to wait; `owner` is whose the open ones are."""

    def owner(self) -> object: ...
    async def connect(self, host: str, port: int, timeout: float) -> Pipe: ...
    async def secure(self, pipe: Pipe, context: Optional[ssl.SSLContext], host: str, timeout: float) -> Pipe: ...
    async def sleep(self, seconds: float) -> None: ...


class Options(NamedTuple):
    address: Address
    api_key: str
    timeout: float
    connect_timeout: float
    read_timeout: float
    retries: int
    ssl_context: Optional[ssl.SSLContext]


class Request(NamedTuple):
    method: str
    path: str
    body: Optional[bytes] = None
    headers: Mapping[str, str] = {}
    is_safe: bool = False  # may be done twice
    next_body: Optional[bytes] = None  # in place of `body` from the second attempt on
    answers: Shape = ANYTHING


class Reply(NamedTuple):
    value: Any
    headers: Mapping[str, str]


class Broken(Exception):
    """No answer, or only a part of one. `arrived`: the request may have."""

    def __init__(self, reason: str, arrived: bool, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.arrived = arrived
        self.timed_out = timed_out


class Opened:
    """An answer whose body is being read."""

    def __init__(self, head: Head, answer: Answer, pipe: Pipe, give_back: Callable[[Pipe], None]) -> None:
        self.head = head
        self._answer = answer
        self._pipe = pipe
        self._give_back = give_back

    async def read_piece(self) -> bytes:
        """Raises Broken; then it is closed."""
        with _closing_on_error(self._pipe, arrived=True):
            return await self._answer.read_piece()

    async def read_body(self) -> bytes:
        with _closing_on_error(self._pipe, arrived=True):
            body = await self._answer.read_body()
        if self._answer.is_reusable():
            self._give_back(self._pipe)
        else:
            self._pipe.close()
        return body

    def close(self) -> None:
        self._pipe.close()


class Transport:
    """Threads: may be used from several at once; `open`ed answers each by one."""

    def __init__(self, network: Network, options: Options) -> None:
        self.network = network
        self.options = options
        self._lock = threading.Lock()
        self._idle: List[Tuple[float, Pipe]] = []
        self._owner: object = None
        self._is_closed = False

    def patience(self, timeout: Optional[float]) -> Patience:
        """For one operation that may take `timeout` seconds, or as long as the client was told."""
        return Patience(self.options.timeout if timeout is None else timeout, self.options.read_timeout)

    async def ask(self, request: Request, patience: Patience) -> Reply:
        """The JSON of the answer.

        Errors: of the class that the server's answer names; ConnectionFailed or TimedOut where there was none.
        """
        opened, body = await self._attempts(request, patience, whole=True)
        try:
            value = json.loads(body) if opened.head.status != 204 else None
        except (ValueError, RecursionError):
            raise self._stranger(opened.head, body) from None
        if not request.answers.fits(value):
            raise self._stranger(opened.head, body)
        return Reply(value, opened.head.headers)

    async def fetch(self, request: Request, patience: Patience) -> bytes:
        """The body of the answer as it is. Errors: as for ask."""
        return (await self._attempts(request, patience, whole=True))[1]

    async def open(self, request: Request, patience: Patience) -> Opened:
        """The answer with its body still to be read. Errors: as for ask."""
        return (await self._attempts(request, patience, whole=False))[0]

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, pipe in idle:
            pipe.close()

    async def pause(self, attempt: int, patience: Patience, at_least: float = 0.0) -> bool:
        """Waits before attempt number `attempt` (from 1); False where that cannot be, and it waited not at all."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
        random = int.from_bytes(os.urandom(4), "big") / 2**32
        seconds = at_least + longest * random if at_least else longest * (1 + random) / 2
        if attempt > self.options.retries or at_least > LONGEST_RETRY_AFTER or seconds >= patience.left():
            return False
        await self.network.sleep(seconds)
        return True

    async def _attempts(self, request: Request, patience: Patience, whole: bool) -> Tuple[Opened, bytes]:
        attempt = 0
        while True:
            at_least = 0.0
            error: errors.Error
            try:
                opened = await self._send(request, attempt, patience)
                succeeded = 200 <= opened.head.status < 300
                body = await opened.read_body() if whole or not succeeded else b""
                if succeeded:
                    return opened, body
            except Broken as broken:
                again = request.is_safe or not broken.arrived
                error = self._no_answer(broken, patience)
            else:
                error, again = self._refusal(opened.head, body, request.is_safe)
                at_least = _retry_after(opened.head)
            attempt += 1
            if not again or not await self.pause(attempt, patience, at_least):
                raise error

    async def _send(self, request: Request, attempt: int, patience: Patience) -> Opened:
        if self._is_closed:
            raise RuntimeError("the client is closed")
        data = self._encode(request, attempt)
        pipe = self._take_idle() or await self._connect(patience)
        answer = Answer(pipe, patience)
        with _closing_on_error(pipe, arrived=True):
            refused: Optional[OSError] = None
            try:
                await pipe.send(data, patience.for_next())
            except TimeoutError:
                raise
            except OSError as error:  # it may have answered before it took all, and closed
                refused = error
            try:
                return Opened(await answer.read_head(), answer, pipe, self._give_back)
            except (OSError, BadAnswer):
                if refused is not None:
                    raise refused from None
                raise

    def _encode(self, request: Request, attempt: int) -> bytes:
        address = self.options.address
        fields = {
            "Host": address.authority,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "sojourn-python",
            "X-API-Version": "2",
            **request.headers,
        }
        if self.options.api_key:
            fields["Authorization"] = "Bearer " + self.options.api_key
        if address.proxy and address.proxy.authorization and not address.tls:
            fields["Proxy-Authorization"] = address.proxy.authorization
        body = request.body if attempt == 0 or request.next_body is None else request.next_body
        body = body or b""
        if body:
            fields.setdefault("Content-Type", "application/json")
        if body or request.method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        lines = [f"{request.method} {address.target_prefix}{request.path} HTTP/1.1"]
        lines += [f"{name}: {text}" for name, text in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    # Connections.

    def _take_idle(self) -> Optional[Pipe]:
        owner = self.network.owner()
        while True:
            with self._lock:
                if self._owner != owner:
                    # A forked child closes its copies; those of another loop are that loop's to close.
                    self._owner, foreign, self._idle = owner, self._idle, []
                    for _, pipe in foreign:
                        pipe.close()
                if not self._idle:
                    return None
                since, pipe = self._idle.pop()
            if time.monotonic() - since < KEPT_SECONDS and pipe.is_quiet():
                return pipe
            pipe.close()

    def _give_back(self, pipe: Pipe) -> None:
        owner = self.network.owner()
        with self._lock:
            if not self._is_closed and self._owner == owner and len(self._idle) < CONNECTIONS_KEPT:
                self._idle.append((time.monotonic(), pipe))
                return
        pipe.close()

    async def _connect(self, patience: Patience) -> Pipe:
        address = self.options.address
        host, port = (address.proxy.host, address.proxy.port) if address.proxy else (address.host, address.port)
        own = Patience(min(self.options.connect_timeout, patience.left()), self.options.connect_timeout)
        try:
            pipe = await self.network.connect(host, port, own.for_next())
        except TimeoutError:
            within = f"within {self.options.connect_timeout:g} s"
            raise Broken(f"no connection to {host}:{port} {within}", arrived=False, timed_out=True) from None
        except OSError as error:
            raise Broken(f"no connection to {host}:{port}: {_words(error)}", arrived=False) from error
        if not address.tls:
            return pipe
        with _closing_on_error(pipe, arrived=False):
            if address.proxy:
                await self._tunnel(pipe, own)
            return await self.network.secure(pipe, self.options.ssl_context, address.host, own.for_next())

    async def _tunnel(self, pipe: Pipe, patience: Patience) -> None:
        address = self.options.address
        assert address.proxy
        host = f"[{address.host}]" if ":" in address.host else address.host
        lines = [f"CONNECT {host}:{address.port} HTTP/1.1", f"Host: {host}:{address.port}"]
        if address.proxy.authorization:
            lines.append("Proxy-Authorization: " + address.proxy.authorization)
        await pipe.send("\r\n".join([*lines, "", ""]).encode("latin-1"), patience.for_next())
        head = await Answer(pipe, patience).read_head()
        if head.status != 200:
            raise BadAnswer(f"the proxy {address.proxy.host}:{address.proxy.port} refuses with status {head.status}")

    # Errors.

    def _no_answer(self, broken: Broken, patience: Patience) -> errors.Error:
        url = self.options.address.url
        if broken.timed_out:
            return errors.TimedOut(f"{url} gave no answer in time: {broken}")
        return errors.ConnectionFailed(f"cannot reach {url}: {broken}")

    def _refusal(self, head: Head, body: bytes, is_safe: bool) -> Tuple[errors.Error, bool]:
        """The error of an answer, and whether to ask again."""
        try:
            told = json.loads(body)["error"]
            code, message = told["code"], told["message"]
            if not isinstance(code, str) or not isinstance(message, str):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._stranger(head, body), is_safe and head.status in (429, 502, 503, 504)
        error = errors.refusal(code, message, status=head.status, **errors.known(told))
        return error, error.retryable and head.status in (429, 503)

    def _stranger(self, head: Head, body: bytes) -> errors.Error:
        url = self.options.address.url
        if 300 <= head.status < 400:
            said = f"it leads to {head.headers.get('location', 'nowhere')[:200]!r}; redirects are not followed"
        else:
            said = f"it says {body[:200].decode('utf-8', 'replace')!r}"
        return errors.ConnectionFailed(
            f"{url} answered with status {head.status}, but not as a Sojourn server does: {said}",
            status=head.status,
            retryable=head.status in (429, 502, 503, 504),
        )


class _closing_on_error:
    """Closes a pipe whatever goes wrong, and turns what a connection can suffer into Broken."""

    def __init__(self, pipe: Pipe, arrived: bool) -> None:
        self._pipe = pipe
        self._arrived = arrived

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Optional[BaseException], traceback: Any) -> None:
        if error is None:
            return
        self._pipe.close()
        if isinstance(error, TimeoutError):
            raise Broken("it was silent for too long", self._arrived, timed_out=True) from None
        if isinstance(error, OSError):
            raise Broken(_words(error), self._arrived) from error
        if isinstance(error, BadAnswer):
            raise Broken(f"bad answer: {error}", self._arrived) from None


def encode_json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.NotSerializable(f"JSON cannot hold this: {error}") from error


def _words(error: OSError) -> str:
    # asyncio's own words leave out the reason; TLS and the lookup of names have their own words and numbers.
    return os.strerror(error.errno) if type(error).__module__ == "builtins" and error.errno else str(error)


def _retry_after(head: Head) -> float:
    """Seconds; 0 where the header is not there or cannot be read."""
    text = head.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return float(text)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime  # rare, and imported only then

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
