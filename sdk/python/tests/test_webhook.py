"""What verify_webhook takes and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import unittest

from sojourn.client import BadWebhook, verify_webhook

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
TASK = {"id": "task_1", "status": 10, "output": {"näme": 1}}


def signed(body: bytes, sent_at: float, key: bytes = KEY) -> dict:
    stamp = str(int(sent_at))
    digest = hmac.new(key, b"task_1." + stamp.encode() + b"." + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"Webhook-Id": "task_1", "WEBHOOK-TIMESTAMP": stamp, "webhook-signature": signature}


class VerifyWebhook(unittest.TestCase):
    def setUp(self) -> None:
        self.body = json.dumps(TASK, ensure_ascii=False).encode()
        self.headers = signed(self.body, time.time())

    def test_returns_the_task_with_and_without_its_envelope(self) -> None:
        task = verify_webhook(SECRET, self.headers, self.body)
        self.assertEqual((task, task.id, task.output), (TASK, "task_1", {"näme": 1}))
        self.assertEqual(verify_webhook(SECRET, self.headers, self.body.decode()), TASK)
        whole = json.dumps({"success": True, "status": 200, "data": TASK, "messages": []}).encode()
        self.assertEqual(verify_webhook(SECRET, signed(whole, time.time()), whole), TASK)

    def test_takes_one_good_signature_among_several(self) -> None:
        headers = {**self.headers, "webhook-signature": "v1a,xyz v1,AAAA " + self.headers["webhook-signature"]}
        self.assertEqual(verify_webhook(SECRET, headers, self.body), TASK)

    def test_refuses_what_was_changed_or_signed_by_another(self) -> None:
        for body, headers in (
            (self.body + b" ", self.headers),
            (self.body, {**self.headers, "Webhook-Id": "task_2"}),
            (self.body, {**self.headers, "WEBHOOK-TIMESTAMP": str(int(time.time()) + 1)}),
            (self.body, {**self.headers, "webhook-signature": ""}),
            (self.body, {**self.headers, "webhook-signature": "v1,ä"}),
            (self.body, signed(self.body, time.time(), KEY[::-1])),
        ):
            with self.subTest(headers=headers), self.assertRaisesRegex(BadWebhook, "signature"):
                verify_webhook(SECRET, headers, body)

    def test_refuses_what_lacks_a_header_or_has_no_time(self) -> None:
        for name in self.headers:
            headers = {other: value for other, value in self.headers.items() if other != name}
            with self.assertRaisesRegex(BadWebhook, name.lower()):
                verify_webhook(SECRET, headers, self.body)
        with self.assertRaisesRegex(BadWebhook, "no number"):
            verify_webhook(SECRET, {**self.headers, "WEBHOOK-TIMESTAMP": "soon"}, self.body)

    def test_refuses_what_is_old_or_from_the_future_but_for_a_tolerance(self) -> None:
        for off in (-400, 400):
            headers = signed(self.body, time.time() + off)
            with self.assertRaisesRegex(BadWebhook, "sent"):
                verify_webhook(SECRET, headers, self.body)
            self.assertEqual(verify_webhook(SECRET, headers, self.body, tolerance=1000), TASK)

    def test_refuses_a_secret_that_is_none(self) -> None:
        for secret in ("", "secret", "whsec_", "whsec_!", "whsec_QQ="):
            with self.assertRaisesRegex(ValueError, "bad webhook secret"):
                verify_webhook(secret, self.headers, self.body)


if __name__ == "__main__":
    unittest.main()
