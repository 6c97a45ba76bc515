import shutil
import socket
import tempfile
import unittest
from pathlib import Path

from stand_in import StandIn

from sojourn import Error, testing

APP = Path(__file__).parent
KEY = "secret-of-the-operator"
PATIENCE = 60


class Chat(unittest.TestCase):
    def setUp(self):
        self.model = self.enterContext(StandIn())

    def start(self, app=APP, **opening):
        opening.setdefault("setup", {"endpoint": self.model.url, "model": "stand-in"})
        return self.enterContext(testing.start(app, **opening))

    def configured(self, **environment):
        """A copy of the app whose app.toml has these settings."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="sojourn-")))
        for file in (*APP.glob("*.py"), APP / "app.toml"):
            shutil.copy(file, folder)
        manifest = (folder / "app.toml").read_text().replace("{app}/../..", str(APP.parent.parent))
        manifest += "".join(f'{name} = "{value}"\n' for name, value in environment.items())
        (folder / "app.toml").write_text(manifest)
        return folder

    def fails(self, worker, code, *words, input="hello", retryable=None):
        with self.assertRaises(Error) as caught:
            worker.call("chat", {"message": input})
        error = caught.exception
        self.assertEqual(error.code, code, error.message)
        for word in words:
            self.assertIn(word, error.message)
        if retryable is not None:
            self.assertEqual(error.retryable, retryable)
        return error


class Conversation(Chat):
    def test_the_model_is_told_what_was_said_before(self):
        worker = self.start()
        worker.call("init", {"system": "Be brief."})
        first = worker.call("chat", {"message": "one"}).output
        self.assertIn("I am a stand-in", first["response"])
        self.assertEqual((first["finish_reason"], first["model"], first["history"]), ("stop", "stand-in", 2))
        second = worker.call("chat", {"message": "two"}).output
        self.assertIn("your message 2 that I see: two Before it: ['one']", second["response"])
        sent = self.model.requests[-1]
        self.assertEqual([message["role"] for message in sent["messages"]], ["system", "user", "assistant", "user"])
        self.assertEqual(sent["messages"][2]["content"], first["response"])
        self.assertEqual((sent["model"], sent["stream"], sent["key"]), ("stand-in", True, None))

    def test_the_answer_is_shown_as_it_comes(self):
        result = self.start().call("chat", {"message": "one"})
        deltas = [frame["delta"]["response"] for frame in result.before]
        self.assertGreater(len(deltas), 10)
        self.assertEqual("".join(deltas), result.output["response"])

    def test_tokens_are_counted_as_the_endpoint_says(self):
        worker = self.start()
        outputs = [worker.call("chat", {"message": "one two"}).output for _ in range(2)]
        self.assertEqual(outputs[0]["usage"]["prompt_tokens"], 2)
        usage = worker.call("history").output["usage"]
        self.assertEqual(usage["answers"], 2)
        self.assertEqual(usage["total_tokens"], sum(output["usage"]["total_tokens"] for output in outputs))

    def test_the_conversation_outlives_its_worker(self):
        with testing.start(APP, setup={"endpoint": self.model.url, "model": "stand-in"}) as worker:
            worker.call("init", {"system": "Be brief."})
            worker.call("chat", {"message": "one"})
            worker.crash()
            state = worker.state
        again = self.start(state=state, restored=True)
        self.assertIn("Before it: ['one']", again.call("chat", {"message": "two"}).output["response"])
        self.assertEqual(self.model.requests[-1]["messages"][0], {"role": "system", "content": "Be brief."})

    def test_the_history_is_bounded_and_begins_with_the_user(self):
        settings = {"CHAT_ENDPOINT": self.model.url, "CHAT_MODEL": "stand-in"}
        worker = self.start(self.configured(**settings, CHAT_HISTORY_MESSAGES=5), setup=None)
        for number in range(6):
            worker.call("chat", {"message": f"message {number}"})
        messages = worker.state["messages"]
        self.assertEqual([message["role"] for message in messages], ["user", "assistant"] * 2)
        self.assertEqual([message["content"] for message in messages[::2]], ["message 4", "message 5"])
        self.assertLessEqual(len(self.model.requests[-1]["messages"]), 5)
        small = self.start(self.configured(**settings, CHAT_HISTORY_BYTES=1000), setup=None)
        for number in range(6):
            self.assertEqual(small.call("chat", {"message": "x" * 300}).output["history"], 2)

    def test_init_forgets_what_was_said(self):
        worker = self.start()
        worker.call("chat", {"message": "one"})
        worker.call("init")
        self.assertIn("your message 1 that I see", worker.call("chat", {"message": "two"}).output["response"])

    def test_an_endpoint_that_does_not_stream_will_do(self):
        self.model.fault = "whole"
        output = self.start().call("chat", {"message": "one"}).output
        self.assertIn("I am a stand-in", output["response"])
        self.assertEqual((output["finish_reason"], output["usage"]["prompt_tokens"]), ("stop", 1))

    def test_the_seeds_way_to_call_it(self):
        worker = self.start()
        worker.call("run", {"action": "init", "system": "You are a helpful assistant."})
        output = worker.call("run", {"message": "What is quantum computing?"}).output
        self.assertIn("What is quantum computing?", output["response"])
        self.assertEqual(len(worker.call("run", {"action": "history"}).output["messages"]), 2)


class Settings(Chat):
    def test_without_an_endpoint_it_says_where_to_set_one(self):
        for setup, what in ((None, "no endpoint"), ({"endpoint": self.model.url}, "no model")):
            worker = self.start(setup=setup)
            self.fails(worker, "endpoint_not_set", what, "CHAT_ENDPOINT", "app.toml", '"setup"', retryable=False)
            with self.assertRaises(Error) as caught:
                worker.call("run", {"action": "init", "system": "x"})
            self.assertEqual(caught.exception.code, "endpoint_not_set")
        self.assertEqual(self.model.requests, [])

    def test_the_operators_key_goes_to_the_operators_endpoint_only(self):
        file = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="sojourn-"))) / "key"
        file.write_text(f"{KEY}\n")
        ours = {"CHAT_MODEL": "stand-in", "CHAT_KEY_FILE": file}
        self.start(self.configured(**ours), setup={"endpoint": self.model.url}).call("chat", {"message": "one"})
        self.assertIsNone(self.model.requests[-1]["key"])
        app = self.configured(**ours, CHAT_ENDPOINT=self.model.url)
        self.start(app, setup=None).call("chat", {"message": "one"})
        self.assertEqual(self.model.requests[-1]["key"], f"Bearer {KEY}")
        with self.assertRaises(Error) as caught:
            testing.start(app, setup={"endpoint": "http://127.0.0.1:9/v1"})
        self.assertEqual(caught.exception.code, "forbidden")

    def test_bad_settings_are_named(self):
        for setup, words in (
            ({"endpoint": "ftp://x/v1"}, "'ftp://x/v1' is no endpoint"),
            ({"endpoint": "http://"}, "no endpoint"),
            ({"endpoint": "http://x:y/v1"}, "no endpoint"),
            ({"endpoint": "http://x/v1\r\nX: y"}, "no endpoint"),
            ({"model": 7}, "as text"),
            ([], "setup is"),
        ):
            with self.subTest(setup=setup), self.assertRaises(Error) as caught:
                testing.start(APP, setup=setup)
            self.assertIn(words, caught.exception.message)
        for settings, words in (({"CHAT_TIMEOUT": "soon"}, "CHAT_TIMEOUT"), ({"CHAT_KEY_FILE": "/none"}, "/none")):
            with self.subTest(settings=settings), self.assertRaises(Error) as caught:
                testing.start(self.configured(CHAT_ENDPOINT=self.model.url, **settings))
            self.assertIn(words, caught.exception.message)

    def test_bad_input_is_refused(self):
        worker = self.start()
        for function, input in (("chat", None), ("chat", {"message": ""}), ("chat", {"message": 7}), ("run", 7),
                                ("run", {"action": "fly"}), ("init", {"system": 7}), ("init", [])):
            with self.subTest(function=function, input=input), self.assertRaises(Error) as caught:
                worker.call(function, input)
            self.assertEqual(caught.exception.code, "invalid_request")
        self.fails(worker, "too_large", input="x" * 65537)
        self.assertEqual(self.model.requests, [])


class Faults(Chat):
    def test_each_fault_is_said_and_leaves_the_conversation_as_it_was(self):
        app = self.configured(CHAT_ENDPOINT=self.model.url, CHAT_MODEL="stand-in", CHAT_KEY=KEY, CHAT_TIMEOUT="0.3")
        worker = self.start(app, setup=None)
        worker.call("chat", {"message": "one"})
        before = dict(worker.state)
        for fault, code, words, retryable in (
            (401, "endpoint_refused_key", "CHAT_KEY", False),
            (403, "endpoint_refused_key", "HTTP 403", False),
            (429, "endpoint_busy", "Retry-After: 7", True),
            (404, "endpoint_failed", "HTTP 404", False),
            (302, "endpoint_failed", "HTTP 302", False),
            (500, "endpoint_failed", "HTTP 500: refused as the test asked for", True),
            ("broken", "endpoint_broken_answer", 'no part of an answer', True),
            ("closed", "endpoint_broken_answer", "broke off before its end", True),
            ("error", "endpoint_failed", "out of memory", True),
            ("silent", "endpoint_silent", "said nothing for 0.3 s", True),
            ("slow", "endpoint_silent", "said nothing for 0.3 s", True),
        ):
            with self.subTest(fault=fault):
                self.model.fault = fault
                error = self.fails(worker, code, words, retryable=retryable)
                self.assertNotIn(KEY, error.message)
                if fault == 429:
                    self.assertEqual(error.details, {"http_status": 429, "retry_after": 7})
                self.assertEqual(worker.state, before)
        self.model.fault = None
        self.assertIn("Before it: ['one']", worker.call("chat", {"message": "two"}).output["response"])

    def test_an_endpoint_that_is_not_there_is_said(self):
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            port = unheard.getsockname()[1]
        worker = self.start(setup={"endpoint": f"http://127.0.0.1:{port}/v1", "model": "x"})
        self.fails(worker, "endpoint_unreachable", "refused", retryable=True)

    def test_a_cancel_ends_the_request(self):
        worker = self.start()
        worker.call("chat", {"message": "one"})
        before = dict(worker.state)
        self.model.fault = "slow"
        call = worker.begin("chat", {"message": "two"})
        self.assertEqual(worker.expect("progress")["delta"], {"response": "I "})
        worker.send({"type": "cancel", "request_id": call})
        with self.assertRaises(Error) as caught:
            worker.finish(call)
        self.assertEqual(caught.exception.code, "cancelled")
        self.assertTrue(self.model.hung_up.wait(PATIENCE))
        self.assertEqual(worker.state, before)
        self.model.fault = None
        self.assertEqual(worker.call("chat", {"message": "three"}).output["history"], 4)


if __name__ == "__main__":
    unittest.main()
