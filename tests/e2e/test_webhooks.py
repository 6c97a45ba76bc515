"""The end of a call, told to a URL that its caller named."""

import json
import queue
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from e2e.program import CANCELLED, COMPLETED, FAILED, PATIENCE, Program, Served, wait_for
from e2e.test_restart import Restart
from sojourn.client import BadWebhook, Client, verify_webhook

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDnPtZs2Yq6hE="
SETTINGS = {"SOJOURN_WEBHOOK_SECRET": SECRET, "SOJOURN_WEBHOOK_ALLOW_PRIVATE": "true"}


class Receiver:
    """Takes what is told to it, and answers as told: a status, or an event to wait for first."""

    def __init__(self, answers=(), port=0, tls=None):
        self.told = queue.Queue()
        self.answers = list(answers)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                receiver.told.put((self.path, dict(self.headers), body))
                if isinstance(answer, threading.Event):
                    answer.wait(PATIENCE)
                    answer = 200
                self.send_response(answer)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def url(self, path="/told", scheme="http", host="127.0.0.1"):
        return f"{scheme}://{host}:{self.port}{path}"

    def next(self):
        return self.told.get(timeout=PATIENCE)

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class Told(Served):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.stop()
        cls.server.environment.update(SETTINGS)
        cls.server.start()

    def receiver(self, *answers, **options):
        receiver = Receiver(answers, **options)
        self.addCleanup(receiver.close)
        return receiver

    def delivered(self, task, status="delivered"):
        return wait_for(lambda: (seen := self.server.task(task))["webhook_status"] == status and seen, f"the webhook of {task}")

    def test_tells_the_end_of_a_call_signed(self):
        receiver = self.receiver()
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False, webhook=receiver.url("/told?by=me"))
        self.assertEqual((task["webhook"], task["webhook_status"]), (receiver.url("/told?by=me"), "pending"))
        path, headers, body = receiver.next()
        self.assertEqual(path, "/told?by=me")
        told = verify_webhook(SECRET, headers, body)
        self.assertEqual((told.id, told["status"], told.output["current"]), (task["id"], COMPLETED, 1))
        self.assertEqual(json.loads(body), {"success": True, "status": 200, "data": told, "messages": []})
        seen = self.delivered(task["id"])
        self.assertEqual({**seen, "webhook_status": "pending"}, {**told, "webhook_attempts": 1})
        for broken in ({**headers, "webhook-id": "task_2"}, {**headers, "webhook-signature": "v1,AAAA"}):
            with self.assertRaises(BadWebhook):
                verify_webhook(SECRET, broken, body)
        with self.assertRaises(BadWebhook):
            verify_webhook(SECRET, headers, body + b" ")
        with self.assertRaises(BadWebhook):
            verify_webhook(SECRET, {**headers, "Webhook-Timestamp": "1"}, body)

    def test_tells_of_calls_that_failed_were_cancelled_or_waited_for(self):
        receiver = self.receiver()
        failed = self.server.run("tests/probe", "fail", "this", webhook=receiver.url())
        self.assertEqual((failed["status"], failed["webhook_status"]), (FAILED, "pending"))
        self.assertEqual(verify_webhook(SECRET, *receiver.next()[1:])["status"], FAILED)
        session = self.server.new_session("tests/probe")
        waiting = self.server.run("tests/probe", "wait_for_cancel", session=session, wait=False, webhook=receiver.url())
        self.server.delete(f"/sessions/{session}")
        told = verify_webhook(SECRET, *receiver.next()[1:])
        self.assertEqual((told.id, told["status"]), (waiting["id"], CANCELLED))

    def test_the_body_is_bare_for_a_caller_of_the_second_version(self):
        receiver = self.receiver()
        answer = self.server.ask_run("counter", input={"key": "a"}, webhook=receiver.url(), headers={"X-API-Version": "2"})
        _, headers, body = receiver.next()
        self.assertEqual(json.loads(body)["id"], answer.body["id"])
        self.assertEqual(verify_webhook(SECRET, headers, body).id, answer.body["id"])

    def test_the_command_line_names_one(self):
        receiver = self.receiver()
        done = self.server.command("run", "counter", "--input", '{"key": "a"}', "--webhook", receiver.url(), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(verify_webhook(SECRET, *receiver.next()[1:]).id, json.loads(done.stdout)["id"])

    def test_a_failed_attempt_is_made_again_and_no_redirect_followed(self):
        receiver = self.receiver(500, 302, 200)
        task = self.server.run("counter", "increment", {"key": "a"}, webhook=receiver.url())
        ids = [receiver.next()[1]["webhook-id"] for _ in range(3)]
        self.assertEqual(ids, [task["id"]] * 3)
        seen = self.delivered(task["id"])
        self.assertEqual((seen["webhook_attempts"], "webhook_error" in seen), (3, False))

    def test_a_slow_receiver_does_not_hold_up_another(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        slow, quick = self.receiver(*[gate] * 20), self.receiver()
        for _ in range(20):
            self.server.run("counter", "increment", {"key": "a"}, webhook=slow.url())
        task = self.server.run("counter", "increment", {"key": "a"}, webhook=quick.url())
        self.assertEqual(verify_webhook(SECRET, *quick.next()[1:]).id, task["id"])
        self.assertLess(slow.told.qsize(), 16)

    def test_bad_urls_are_refused_by_the_fields_name(self):
        for url in ("example.com", "ftp://example.com/", "http://user@example.com/", "http://example.com/#a", "http://a b/", 5):
            with self.subTest(url=url):
                answer = self.server.ask_run("counter", input={"key": "a"}, webhook=url)
                self.assertEqual(self.refused(answer, 400, "invalid_request", "webhook")["details"]["field"], "webhook")

    def test_certificates_are_verified(self):
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        receiver = self.receiver(tls=tls)
        stranger = self.server.run("counter", "increment", {"key": "a"}, webhook=receiver.url(scheme="https", host="localhost"))
        seen = wait_for(lambda: (task := self.server.task(stranger["id"])).get("webhook_error") and task, "an attempt")
        self.assertIn("certificate verify failed", seen["webhook_error"])

        trusting = Program(self.folder / "apps", self.folder / "trusting", environment={**SETTINGS, "SSL_CERT_FILE": str(certificate)})
        self.addCleanup(trusting.log_file.close)
        trusting.start()
        self.addCleanup(trusting.stop)
        task = trusting.run("counter", "increment", {"key": "a"}, webhook=receiver.url(scheme="https", host="localhost"))
        self.assertEqual(verify_webhook(SECRET, *receiver.next()[1:]).id, task["id"])
        other = trusting.run("counter", "increment", {"key": "a"}, webhook=receiver.url(scheme="https"))  # not its name
        seen = wait_for(lambda: (seen := trusting.task(other["id"])).get("webhook_error") and seen, "an attempt")
        self.assertIn("certificate verify failed", seen["webhook_error"])

    def test_the_python_client_names_a_url(self):
        receiver = self.receiver()
        with Client(self.server.url) as client, client.session("counter") as session:
            task = session.run({"key": "a"}, webhook=receiver.url())
        self.assertEqual(verify_webhook(SECRET, *receiver.next()[1:]).id, task.id)


class NotTold(Served):
    def test_a_server_without_a_secret_sends_none(self):
        answer = self.server.ask_run("counter", input={"key": "a"}, webhook="https://example.com/")
        self.refused(answer, 400, "invalid_request", "webhook", "webhook_secret")

    def test_private_addresses_are_refused_unless_allowed(self):
        server = Program(self.folder / "apps", self.folder / "public", environment={"SOJOURN_WEBHOOK_SECRET": SECRET})
        self.addCleanup(server.log_file.close)
        server.start()
        self.addCleanup(server.stop)
        receiver = Receiver()
        self.addCleanup(receiver.close)
        for url in (receiver.url(), receiver.url(host="localhost"), receiver.url(host="2130706433")):
            task = server.run("counter", "increment", {"key": "a"}, webhook=url)
            seen = wait_for(lambda: (seen := server.task(task["id"])).get("webhook_error") and seen, "an attempt")
            self.assertIn("not one of the public Internet", seen["webhook_error"])
        self.assertTrue(receiver.told.empty())


class ToldAfterARestart(Restart):
    def test_what_was_owed_is_told_by_the_next_server(self):
        self.server.stop()
        self.server.environment.update(SETTINGS)
        self.server.start()
        receiver = Receiver([500])
        gate = self.fifo()
        done = self.server.run("counter", "increment", {"key": "a"}, webhook=receiver.url())
        running = self.server.run("tests/probe", "hold", {"gate": gate.path}, wait=False, webhook=receiver.url())
        receiver.next()
        receiver.close()
        gate.wait_until_read()
        self.crash()
        receiver = Receiver(port=receiver.port)
        self.addCleanup(receiver.close)
        self.server.start()
        told = {}
        while len(told) < 2:
            task = verify_webhook(SECRET, *receiver.next()[1:])
            told[task.id] = task["status"]
        self.assertEqual(told, {done["id"]: COMPLETED, running["id"]: FAILED})
        for task in told:
            wait_for(lambda: self.server.task(task)["webhook_status"] == "delivered", "that it was told")
        self.server.stop()
        self.verified()
