"""What clients know of the calls that they sent, and what a server must say of them after a crash."""

import random
import threading

from e2e.program import COMPLETED, FAILED

COUNTER, MEMORY, LEAVER = "counter", "session-test", "tests/leaver"
WAITED, KEYED, ASYNC = "waited", "keyed", "async"

# With what a call may fail when its worker, or the supervisor of all of them, is killed.
LOST = ("WORKER_LOST", "worker_start_failed")


class Sent:
    """A call that a client sent, and what the server said of it."""

    def __init__(self, kind, key=None):
        self.kind, self.key = kind, key
        self.task = None  # as it was answered: final, or accepted; None where the server died first
        self.settled = False  # it was final, and found so


class Ledger:
    """One session of `app` as its callers know it."""

    def __init__(self, test, server, app):
        self.test, self.server, self.app = test, server, app
        self.session = server.new_session(app, session_timeout=3600)
        self.failed = False  # a session that lived in a worker's memory, and lost it
        self.sent = []

    def send(self, choices, mark):
        """One call of a random kind. Raises OSError or HTTPException where the server dies meanwhile."""
        if self.app == LEAVER and choices.random() < 0.05:
            self.server.ask_run(self.app, "leave", {"mark": mark}, session=self.session)
            return
        sent = Sent(choices.choice([WAITED, KEYED, ASYNC]))
        if sent.kind == KEYED or choices.random() < 0.3:
            sent.key = f"key {choices.random()}"
        self.sent.append(sent)
        answer = self.ask(sent, wait=sent.kind != ASYNC)
        if answer.status == 200:
            sent.task = answer.data
        elif self.app == MEMORY and answer.body["code"] == "WORKER_LOST":
            self.sent.remove(sent)  # it was never taken in, for its session is over
        else:
            raise AssertionError(f"{self.app} refused a call: {answer.text.decode()}")

    def ask(self, sent, wait=True):
        headers = {"Idempotency-Key": sent.key} if sent.key else {}
        return self.server.ask_run(self.app, "increment", {"key": "n"}, session=self.session, wait=wait,
                                   headers=headers)

    # After a crash.

    def check(self):
        """Each acknowledged call is there as it was answered, none ran twice, and the session is usable or over."""
        for sent in self.sent:
            if sent.task is not None and not sent.settled:
                self.settle(sent)
        if self.app == MEMORY:
            self.check_memory()
        else:
            self.check_state()

    def settle(self, sent):
        """What was answered as final is stored so; what was accepted has ended meanwhile, or is done now."""
        stored = self.server.final_task(sent.task["id"])
        if sent.task["status"] >= COMPLETED:
            self.test.assertEqual(stored, sent.task)
        self.test.assertIn(stored["status"], (COMPLETED, FAILED), stored)
        if stored["status"] == FAILED:
            self.test.assertIn(stored["error_info"]["code"], LOST, stored)
        sent.task, sent.settled = stored, True

    def check_again(self):
        for sent in self.sent:
            if sent.task is not None:
                self.test.assertEqual(self.server.task(sent.task["id"]), sent.task)

    def check_state(self):
        """The state counts what the journal completed: every answer, each once, and no call that failed."""
        self.retry()
        outputs = {sent.task["id"]: sent.task["output"]["current"]
                   for sent in self.sent if sent.task and sent.task["status"] == COMPLETED}
        self.test.assertEqual(len(set(outputs.values())), len(outputs), "an increment was done twice")
        after = self.server.output(self.app, "increment", {"key": "n"}, session=self.session)["current"]
        self.sent.append(Sent(WAITED))  # counted, and not looked at again
        lost = sum(sent.task is None for sent in self.sent)
        self.test.assertLessEqual(len(outputs), after)
        self.test.assertLessEqual(after, len(outputs) + lost)
        completed = [event["data"]["task"] for event in self.server.events(self.session)
                     if event["type"] == "call.completed" and event["data"].get("function") != "leave"]
        self.test.assertEqual(len(set(completed)), len(completed))
        self.test.assertEqual(after, len(completed))
        self.test.assertLessEqual(outputs.keys(), set(completed))

    def retry(self):
        """A retry under the same key is the same task; where the answer was lost, its outcome or a first run."""
        for sent in self.sent:
            if sent.key is None or sent.settled == "retried":
                continue
            answer = self.ask(sent)
            if sent.task is not None:
                self.test.assertEqual(answer.data, sent.task)
            else:
                self.test.assertIn(answer.data["status"], (COMPLETED, FAILED))
                sent.task = answer.data
            sent.settled = "retried"

    def check_memory(self):
        """It has failed, unless it lost nothing that it had answered; what it answered can be read either way."""
        done = [sent.task["output"]["current"] for sent in self.sent
                if sent.task is not None and sent.task["status"] == COMPLETED]
        self.test.assertEqual(len(set(done)), len(done), "an increment was done twice")
        answer = self.server.ask_run(MEMORY, "get_all", session=self.session)
        if answer.status == 200 and answer.data["status"] == COMPLETED:
            self.test.assertGreaterEqual(answer.data["output"]["state"].get("n", 0), len(done))
            return
        code = answer.body["code"] if answer.status != 200 else answer.data["error_info"]["code"]
        self.test.assertEqual(code, "WORKER_LOST")
        session = self.server.over(self.session)
        self.test.assertEqual((session["status"], session["error"]["code"]), ("ended", "WORKER_LOST"))
        self.test.assertEqual(self.server.event_types(self.session)[-1], "session.failed")
        for sent in self.sent:
            if sent.key is not None and sent.task is not None:
                self.test.assertEqual(self.ask(sent).data, sent.task)
        self.failed = True


class Load:
    """Clients that call the sessions of `ledgers` until they are told to stop, or the server dies."""

    def __init__(self, choices, ledgers, clients, mark, gone):
        self.ledgers, self.mark, self.gone = ledgers, mark, gone
        self.over = False
        self.answered = 0  # about: the clients count without a lock
        self.killed = False  # from here on a server may refuse to answer
        self.errors = []
        self.threads = [threading.Thread(target=self.run, args=(random.Random(choices.random()),))
                        for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, choices):
        while not self.over:
            try:
                choices.choice(self.ledgers).send(choices, self.mark)
                self.answered += 1
            except self.gone as error:
                if not self.killed:
                    self.errors.append(error)
                return
            except Exception as error:
                self.errors.append(error)
                return

    def join(self):
        """Stops the clients and raises what went wrong with one."""
        self.over = True
        for thread in self.threads:
            thread.join()
        for error in self.errors:
            raise error
