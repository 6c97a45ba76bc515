"""One request to an OpenAI-compatible endpoint, its answer read as it comes."""

import http.client
import json
import socket
from urllib.parse import urlsplit

from sojourn import Error

CONNECT_SECONDS = 10
LINE_BYTES = 1024 * 1024
ANSWER_BYTES = 1024 * 1024
QUOTED = 500


class Endpoint:
    """Asks once. `stop` may be called from any thread and ends it; then whoever reads gets an Error."""

    def __init__(self, settings):
        self._settings = settings
        parts = urlsplit(settings.endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
        self._path = f"{parts.path}/chat/completions"
        self._stream = None  # kept, since the connection lets go of it where the answer ends with it
        self.finish_reason = None
        self.usage = None
        self.model = settings.model

    def stop(self):
        stream = self._stream
        if stream:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                pass

    def answer(self, messages, stopped):
        """The answer's text, piece by piece. `stopped` says whether `stop` was called. Raises Error."""
        try:
            self._connection.connect()
            self._stream = self._connection.sock
            if not stopped():  # from here on `stop` finds a stream
                self._stream.settimeout(self._settings.timeout)
                yield from self._pieces(self._ask(messages))
        except TimeoutError:
            seconds = self._settings.timeout if self._stream else CONNECT_SECONDS
            raise failed("endpoint_silent", f"said nothing for {seconds:g} s", True) from None
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise failed("endpoint_unreachable", f"the connection failed: {why}", True) from None
        finally:
            self._connection.close()

    def _ask(self, messages):
        body = {"model": self._settings.model, "messages": messages, "stream": True}
        body["stream_options"] = {"include_usage": True}
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Connection": "close"}
        if self._settings.key:
            headers["Authorization"] = f"Bearer {self._settings.key}"
        self._connection.request("POST", self._path, json.dumps(body).encode(), headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise self._refusal(response)
        return response

    def _refusal(self, response):
        text = response.read(LINE_BYTES).decode(errors="replace")
        try:
            text = json.loads(text)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            pass
        details = {"http_status": response.status}
        said = f"HTTP {response.status}: {self._quoted(text)}"
        if response.status in (401, 403):
            why = f"did not take the key (CHAT_KEY_FILE or CHAT_KEY): {said}"
            return failed("endpoint_refused_key", why, False, details)
        if response.status == 429:
            wait = response.headers.get("Retry-After")
            details["retry_after"] = int(wait) if wait and wait.isdigit() else wait
            why = f"asks to come again later (Retry-After: {wait or 'not said'}): {said}"
            return failed("endpoint_busy", why, True, details)
        return failed("endpoint_failed", said, response.status >= 500, details)

    def _quoted(self, text):
        text = str(text)
        if self._settings.key:
            text = text.replace(self._settings.key, "***")
        return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."

    def _pieces(self, response):
        if response.headers.get_content_type() != "text/event-stream":
            yield from self._whole(response)
            return
        length = 0
        for data in events(response):
            if data == "[DONE]":
                break
            piece = self._piece(data)
            length += len(piece.encode())
            if length > ANSWER_BYTES:
                raise failed("endpoint_broken_answer", f"the answer has more than {ANSWER_BYTES} bytes", False)
            if piece:
                yield piece
        if self.finish_reason is None:
            raise failed("endpoint_broken_answer", "the answer broke off before its end", True)

    def _whole(self, response):
        """From an endpoint that does not stream."""
        text = response.read(ANSWER_BYTES + 1)
        if len(text) > ANSWER_BYTES:
            raise failed("endpoint_broken_answer", f"the answer has more than {ANSWER_BYTES} bytes", False)
        yield self._piece(text.decode(errors="replace"), "message")

    def _piece(self, data, part="delta"):
        try:
            event = json.loads(data)
            if event.get("error"):
                error = event["error"]
                message = error.get("message") if isinstance(error, dict) else error
                raise failed("endpoint_failed", f"in mid-answer: {self._quoted(message)}", True)
            self.usage = event.get("usage") or self.usage
            self.model = event.get("model") or self.model
            if not event.get("choices"):
                return ""
            choice = event["choices"][0]
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            text = (choice.get(part) or {}).get("content") or ""
            if not isinstance(text, str):
                raise TypeError
            return text
        except (ValueError, AttributeError, KeyError, IndexError, TypeError):
            said = f"sent what is no {'part of an ' if part == 'delta' else ''}answer: {self._quoted(data)!r}"
            raise failed("endpoint_broken_answer", said, True) from None


def events(response):
    """The data of each server-sent event."""
    lines = []
    while line := response.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            raise failed("endpoint_broken_answer", f"sent a line of more than {LINE_BYTES} bytes", False)
        name, _, value = line.decode(errors="replace").rstrip("\r\n").partition(":")
        if name == "data":
            lines.append(value.removeprefix(" "))
        elif not name and not value and lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def failed(code, message, retryable, details=None):
    return Error(code, f"the model's endpoint {message}", retryable, details)
