import unittest
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent
TEXT = "Some *new* and **bold** `a*b*` <b>\nwords.\n\n- one\n- [two](https://example.com/?a=1&b=2)\n\n```\n<x> & *y*\n```"
HTML = (
    "<h1>First &quot;note&quot;</h1>\n<p>Some <em>new</em> and <strong>bold</strong> <code>a*b*</code> &lt;b&gt;\n"
    'words.</p>\n<ul>\n<li>one</li>\n<li><a href="https://example.com/?a=1&amp;b=2">two</a></li>\n</ul>\n'
    "<pre><code>&lt;x&gt; &amp; *y*</code></pre>\n"
)


def notes(count):
    return {"notes": [{"title": f"Note {n}", "text": f"text {n}", "tags": ["even"] if n % 2 == 0 else []}
                      for n in range(1, count + 1)]}


class MarkdownNotes(unittest.TestCase):
    def test_keeps_finds_renders_and_removes_notes(self):
        with testing.start(APP) as worker:
            self.assertEqual(worker.call("add", {"title": ' First "note" ', "text": TEXT}).output["id"], 1)
            second = worker.call("add", {"title": "Shopping", "text": "> milk\n> eggs", "tags": ["home"]})
            self.assertEqual(set(second.state_set), {"next", "note 2"})  # only what changed is written
            self.assertEqual(worker.call("get", {"id": 1}).output["html"], HTML)
            self.assertEqual(worker.call("search", {"words": "EGGS milk"}).output,
                             {"notes": [{"id": 2, "title": "Shopping"}]})
            self.assertEqual(worker.call("list", {"tag": "home"}).output["notes"][0]["id"], 2)
            self.assertEqual(worker.call("remove", {"id": 1}).output, {"removed": 'First "note"'})
            self.assertEqual([note["id"] for note in worker.call("list").output["notes"]], [2])

    def test_goes_on_where_a_lost_worker_stopped(self):
        with testing.start(APP) as worker:
            worker.call("add", {"title": "a", "text": "b"})
            worker.crash()
            state = worker.state
        with testing.start(APP, state=state, restored=True) as worker:
            self.assertEqual(worker.call("get", {"id": 1}).output["html"], "<h1>a</h1>\n<p>b</p>\n")
            self.assertEqual(worker.call("add", {"title": "c", "text": ""}).output["id"], 2)

    def test_loads_many_a_hundred_to_a_commit(self):
        with testing.start(APP) as worker:
            result = worker.call("load", notes(250))
            checkpoints = [frame for frame in result.before if frame["type"] == "checkpoint"]
            self.assertEqual([len(frame["state_set"]) for frame in checkpoints], [101, 101])
            self.assertEqual(len(result.state_set), 51)
            self.assertEqual(len(worker.call("list", {"tag": "even"}).output["notes"]), 125)

    def test_keeps_what_was_committed_when_loading_is_cancelled(self):
        with testing.start(APP) as worker:
            request_id = worker.begin("load", notes(250))
            worker.expect("checkpoint")
            worker.send({"type": "cancel", "request_id": request_id})
            worker.send({"type": "saved", "request_id": request_id})
            with self.assertRaises(Error) as caught:
                worker.finish(request_id)
            self.assertEqual((caught.exception.code, caught.exception.message), ("cancelled", "stopped after 100 notes"))
            self.assertEqual(len(worker.call("list").output["notes"]), 100)

    def test_makes_a_book_that_goes_with_the_session(self):
        with testing.start(APP) as worker:
            worker.call("load", notes(3))
            result = worker.call("book")
            shown = [frame["output"]["chapters"] for frame in result.before if frame["type"] == "progress"]
            book = worker.folder / result.output["file"]
            self.assertEqual(shown, [1, 2, 3])
            self.assertEqual(book.stat().st_size, result.output["bytes"])
            self.assertIn("<h1>Note 3</h1>", book.read_text())
            self.assertEqual(worker.call("book").output, result.output)
            worker.send({"type": "close", "reason": "ended"})
            self.assertEqual(worker.expect("closed")["failures"], [])
            worker.process.wait(20)
            self.assertFalse(book.exists())

    def test_refuses_bad_input_and_keeps_its_notes(self):
        with testing.start(APP) as worker:
            worker.call("add", {"title": "a", "text": "b"})
            for function, bad in (("add", None), ("add", {"title": " ", "text": ""}), ("add", {"title": "a"}),
                                  ("add", {"title": "a", "text": "", "tags": [1]}), ("get", {"id": 7}), ("get", None),
                                  ("remove", {"id": "x"}), ("search", {}), ("load", {}),
                                  ("load", {"notes": [{"title": "b", "text": "c"}, 7]})):
                with self.subTest(function=function, input=bad), self.assertRaises(Error) as caught:
                    worker.call(function, bad)
                self.assertEqual(caught.exception.code, "invalid_request")
            self.assertEqual(len(worker.call("list").output["notes"]), 1)


if __name__ == "__main__":
    unittest.main()
