"""docs/reference/metrics.md lists what /metrics says, and that is what Prometheus reads."""

import re
import unittest

import pages

PAGE = pages.ROOT / "docs" / "reference" / "metrics.md"
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)")


def parse(text):
    """Families by name: kind, help, and samples by (name, labels). Refuses what promtool would."""
    families = {}
    current = None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, what = line[7:].partition(" ")
            assert current not in families, f"{current} is there twice"
            families[current] = {"help": what, "kind": None, "samples": {}}
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and families[name]["kind"] is None and not families[name]["samples"], line
            families[name]["kind"] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line}"
            name = match[1]
            labels = tuple(sorted(re.findall(LABEL, match[2] or "")))
            assert len(dict(labels)) == len(labels), f"a label is there twice: {line}"
            family = families[current]
            suffixes = ("_bucket", "_sum", "_count") if family["kind"] == "histogram" else ("",)
            assert name in [current + suffix for suffix in suffixes], f"{name} stands under {current}"
            assert (name, labels) not in family["samples"], f"a series is there twice: {line}"
            family["samples"][name, labels] = float(match[match.lastindex])
    return families


def histograms(name, family):
    """The histograms of a family: buckets in order by bound, sum and count, by their other labels."""
    found = {}
    for (sample, labels), value in family["samples"].items():
        others = tuple(label for label in labels if label[0] != "le")
        one = found.setdefault(others, {"buckets": []})
        if sample == f"{name}_bucket":
            one["buckets"].append((float(dict(labels)["le"]), value))
        else:
            one[sample.removeprefix(f"{name}_")] = value
    return found


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(pages.temporary_folder())
        cls.server = cls.enterClassContext(pages.Server(folder))

    def families(self):
        status, headers, text = self.server.ask("GET", "/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        return parse(text)

    def value(self, families, name, **labels):
        return families[name]["samples"].get((name, tuple(sorted(labels.items()))))

    def run_counter(self, **fields):
        return self.server.json("POST", "/apps/run", {"app": "counter", "session": "new", "wait": True,
                                                      "input": {"key": "a"}, **fields})

    def test_the_page_lists_each_metric_with_its_type_and_labels(self):
        self.run_counter()
        self.run_counter(input=7)
        session = self.run_counter()["session_id"]
        self.server.ask("DELETE", f"/sessions/{session}")
        families = self.families()
        shown = {cells[0].strip("`"): (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
                 for cells in pages.table_rows(PAGE, "metric")}
        found = {}
        for name, family in families.items():
            labels = {label for _, pairs in family["samples"] for label, _ in pairs} - {"le"}
            found[name] = (family["kind"], labels)
            self.assertTrue(family["help"].endswith("."), name)
        # The demo's app registers no resource and has no steps, so these have no series here.
        self.assertEqual(found.pop("sojourn_resources_registered_total"), ("counter", set()))
        self.assertEqual(shown.pop("sojourn_resources_registered_total"), ("counter", {"kind"}))
        self.assertEqual(found.pop("sojourn_step_seconds"), ("histogram", set()))
        self.assertEqual(shown.pop("sojourn_step_seconds"), ("histogram", {"app", "step"}))
        self.assertEqual(shown, found)

    def test_it_counts_what_happened(self):
        before = self.families()
        session = self.run_counter()["session_id"]
        self.run_counter(session=session, input=7)
        self.server.ask("GET", "/tasks/task_00000000000000000000000000")
        self.server.ask("GET", "/nowhere")
        after = self.families()

        def grew(name, **labels):
            return (self.value(after, name, **labels) or 0) - (self.value(before, name, **labels) or 0)

        self.assertEqual(grew("sojourn_sessions_created_total", app="counter"), 1)
        self.assertEqual(grew("sojourn_calls_total", app="counter", outcome="completed", code=""), 1)
        self.assertEqual(grew("sojourn_calls_total", app="counter", outcome="failed", code="invalid_request"), 1)
        self.assertEqual(grew("sojourn_sessions_live", app="counter"), 1)
        self.assertEqual(grew("sojourn_workers", app="counter"), 1)
        self.assertGreater(grew("sojourn_workers_memory_bytes", app="counter"), 1 << 20)
        self.assertEqual(grew("sojourn_http_requests_total", route="POST /apps/run", status="2xx"), 2)
        self.assertEqual(grew("sojourn_http_requests_total", route="GET /tasks/{id}", status="4xx"), 1)
        self.assertEqual(grew("sojourn_http_requests_total", route="none", status="4xx"), 1)
        self.assertGreaterEqual(grew("sojourn_store_commits_total"), 3)
        self.assertGreaterEqual(grew("sojourn_store_transactions_total"), 1)
        self.assertEqual(grew("sojourn_http_connections_total"), 5, "four requests here and one for the metrics")
        self.assertGreaterEqual(self.value(after, "sojourn_http_connections"), 1)

    def test_the_buckets_of_histograms_are_cumulative(self):
        self.run_counter()
        checked = 0
        for name, family in self.families().items():
            if family["kind"] != "histogram":
                continue
            for labels, one in histograms(name, family).items():
                with self.subTest(name=name, labels=labels):
                    self.assertEqual(one["buckets"], sorted(one["buckets"]))
                    counts = [count for _, count in one["buckets"]]
                    self.assertEqual(counts, sorted(counts))
                    self.assertEqual(one["buckets"][-1], (float("inf"), one["count"]))
                    self.assertGreaterEqual(one["sum"], 0)
                    checked += 1
        self.assertGreaterEqual(checked, 4)

    def test_the_parser_refuses_what_is_wrong(self):
        head = "# HELP a A.\n# TYPE a counter\n"
        for text in (head + "a 1\na 2\n", head + "b 1\n", head + 'a{x="1",x="2"} 1\n', head + "a  1\n", head + "a 1",
                     head + 'a{x="\n"} 1\n', head + head):
            with self.subTest(text=text), self.assertRaises(AssertionError):
                parse(text)


class MetricsWithKeys(unittest.TestCase):
    def test_they_take_a_key_that_may_read(self):
        with pages.temporary_folder() as folder:
            keys = folder / "keys.toml"
            made = pages.subprocess.run([pages.BINARY, "keys", "create", "prometheus", "--file", keys, "--scope",
                                         "apps:read"], capture_output=True, text=True, check=True)
            key = re.search(r"sjn_\S+", made.stdout)[0]
            with pages.Server(folder, "--keys", keys) as server:
                self.assertEqual(server.ask("GET", "/metrics")[0], 401)
                self.assertEqual(server.ask("GET", "/metrics", Authorization=f"Bearer {key}")[0], 200)


if __name__ == "__main__":
    unittest.main()
