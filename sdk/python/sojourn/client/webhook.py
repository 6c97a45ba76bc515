"""What a server tells by webhook, on the side of who receives it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Mapping, Union

from .task import Task

PREFIX = "whsec_"


class BadWebhook(ValueError):
    """A request that did not come from the server that has the secret, or came from it long ago."""


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: Union[bytes, str], *, tolerance: float = 300.0
) -> Task:
    """The call that a webhook tells of, as GET /tasks/{id} would.

    secret     the server's webhook_secret
    headers    of the request, in any case
    body       of the request, as it came
    tolerance  seconds that its time may be off

    The same call may be told more than once: its `id` says so. Errors: BadWebhook; ValueError for a bad secret.
    """
    key = _key_of(secret)
    data = body.encode() if isinstance(body, str) else bytes(body)
    fields = {name.lower(): value for name, value in headers.items()}
    try:
        name, sent_at = fields["webhook-id"], fields["webhook-timestamp"]
        signatures = fields["webhook-signature"].split()
        seconds = int(sent_at)
    except KeyError as error:
        raise BadWebhook(f"it has no header {error.args[0]}") from None
    except ValueError:
        raise BadWebhook("its webhook-timestamp is no number") from None
    digest = hmac.new(key, f"{name}.{sent_at}.".encode() + data, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    matches = [hmac.compare_digest(signature.encode(), expected) for signature in signatures]
    if not any(matches):
        raise BadWebhook("its signature is not that of this secret")
    if abs(time.time() - seconds) > tolerance:
        raise BadWebhook(f"it was sent {time.time() - seconds:.0f} s ago")
    told = json.loads(data)
    return Task(told["data"] if "data" in told and "success" in told else told)


def _key_of(secret: str) -> bytes:
    try:
        if not secret.startswith(PREFIX):
            raise ValueError
        key = base64.b64decode(secret[len(PREFIX) :], validate=True)
        if not key:
            raise ValueError
        return key
    except (ValueError, binascii.Error):
        raise ValueError("bad webhook secret: it is whsec_ and base64") from None
