"""Where the model is, from the app's environment or the session's setup."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sojourn import Error

WHAT_TO_DO = (
    'set CHAT_ENDPOINT in [env] of the app\'s app.toml, such as "http://127.0.0.1:11434/v1", or give '
    '"setup": {"endpoint": URL, "model": NAME} when the session is created'
)


class Settings(NamedTuple):
    endpoint: str  # without the last slash, "" where none is set
    model: str
    key: str
    timeout: float  # seconds of silence
    messages: int  # kept in the history
    history_bytes: int


def settings_of(setup):
    """Raises Error where something is set that cannot be."""
    if setup is None:
        setup = {}
    if not isinstance(setup, dict) or any(not isinstance(setup.get(name, ""), str) for name in ("endpoint", "model")):
        raise Error("invalid_request", 'setup is {"endpoint": URL, "model": NAME}, both as text', False)
    ours = os.environ.get("CHAT_ENDPOINT", "").rstrip("/")
    theirs = setup.get("endpoint", "").rstrip("/")
    if ours and theirs and ours != theirs:
        raise Error("forbidden", "setup.endpoint: this server's chats use the endpoint of its own settings", False)
    return Settings(
        endpoint=checked_endpoint(ours or theirs),
        model=setup.get("model") or os.environ.get("CHAT_MODEL", ""),
        # Never to an endpoint that a caller chose.
        key=key() if ours else "",
        timeout=number("CHAT_TIMEOUT", 60),
        messages=int(number("CHAT_HISTORY_MESSAGES", 40)),
        history_bytes=int(number("CHAT_HISTORY_BYTES", 256 * 1024)),
    )


def needed(settings):
    """Raises Error where nothing can be asked yet."""
    for value, what in ((settings.endpoint, "endpoint"), (settings.model, "model")):
        if not value:
            raise Error("endpoint_not_set", f"no {what} is set for this chat: {WHAT_TO_DO}", False)


def key():
    file = os.environ.get("CHAT_KEY_FILE")
    if not file:
        return os.environ.get("CHAT_KEY", "")
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise Error("config_invalid", f"CHAT_KEY_FILE: {file}: {error.strerror}", False) from None


def number(name, default):
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise Error("config_invalid", f"{name} is a number above 0, not {text!r}", False)
    return value


def checked_endpoint(endpoint):
    if endpoint:
        try:
            parts = urlsplit(endpoint)
            fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and not parts.query
        except ValueError:
            fine = False
        if not fine or any(ord(letter) <= 32 or ord(letter) > 126 for letter in endpoint):
            raise Error("invalid_request", f"{endpoint!r} is no endpoint, such as http://127.0.0.1:11434/v1", False)
    return endpoint
