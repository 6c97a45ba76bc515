"""The pages hold together: their links and paths lead somewhere, their commands run and print what they show.

A block "```sh run" is run in the page's own folder, one after the other; "```text shows" after it is what it prints.
There `...` stands for anything within a line, a line of it for any lines, and ids, times and pids for any others; an id
that the page has shown may be used in what follows. "```text like" takes any other numbers too. "```sh serve" starts a
server that runs until the page's next one, or its end; a block of only `# stop the server` stops it.
"""

import os
import re
import subprocess
import unittest

import pages

# Whose code blocks other tests run: the command line's and the guide's.
ELSEWHERE = {"cli.md", "settings.md", "writing-an-app.md", "app-toml.md"}
# What takes a board: test_boards runs it.
OWN_TEST = {"boards.md"}
# What cannot be run here, and why.
NOT_RUN = {"./scripts/test": "it runs this test",
           "sojourn serve --worker-uids 200000-299999": "it takes root, and ids that nobody has; e2e.isolation runs it"}

IDS = re.compile(r"sess_\d{8}_\d{6}_[0-9a-f]{6}|task_[0-9a-f]{26}|sjn_[\w-]{43}")
VARYING = re.compile(
    r"(?P<id>" + IDS.pattern + r")|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)|(?P<hash>\b[0-9a-f]{64}\b)"
    r"|(?P<pid>pid\W+\d+)|(?P<any>\.\.\.)")


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", pages.without_blocks(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def pattern_of(shown, known, numbers):
    """A pattern for what a page shows; the ids that are new in it, each a group, in order."""
    new = []

    def literal(text):
        text = re.escape(text)
        if numbers:
            text = re.sub(r"(?:\d|\\\.(?=\d))+", r"[\\d.]+", text)
            text = re.sub(r"(?<=\]\+\\ )(?:us|ms|s)\b", r"(?:us|ms|s)", text)  # a time is told in what fits its length
            text = re.sub(r"(?:\\ ){2,}", r" +", text)
        return text

    def line_pattern(line):
        parts, end = [], 0
        for match in VARYING.finditer(line):
            parts.append(literal(line[end:match.start()]))
            end = match.end()
            kind, text = match.lastgroup, match.group()
            if kind == "id" and text in known:
                parts.append(re.escape(known[text]))
            elif kind == "id" and text in new:
                parts.append(rf"(?P=id{new.index(text)})")
            elif kind == "id":
                prefix = text[:5] if text[4] == "_" else text[:4]
                parts.append(rf"(?P<id{len(new)}>{prefix}[\w-]+)")
                new.append(text)
            else:
                parts.append({"time": r"[\d:.TZ-]+", "hash": "[0-9a-f]{64}", "pid": r"pid\W+\d+", "any": ".*"}[kind])
        return "".join(parts) + literal(line[end:]) + r" *\n"

    lines = [r"(?:.*\n)*?" if line.strip() == "..." else line_pattern(line) for line in shown.splitlines()]
    return "".join(lines), new


class Page:
    """Runs a page's blocks in a folder that looks like the project's."""

    def __init__(self, folder):
        self.folder = folder
        self.server = None
        self.known = {}  # ids that the page shows -> ids that there are
        self.output = ""
        (folder / "bin").mkdir()
        (folder / "bin" / "sojourn").symlink_to(pages.BINARY)
        for name in ("apps", "scripts", "demo", "docs", "examples", "sdk", "tests", "build"):
            (folder / name).symlink_to(pages.BUILD if name == "build" else pages.ROOT / name)
        self.environment = {**pages.ENVIRONMENT, "PATH": f"{folder}/bin:{os.environ['PATH']}",
                            "SOJOURN_BINARY": str(pages.BINARY), "NO_COLOR": "1"}

    def translate(self, text):
        text = text.replace("build/release/", "build/")
        if self.server:
            text = text.replace("http://127.0.0.1:8080", self.server.url)
        return IDS.sub(lambda match: self.known.get(match.group(), match.group()), text)

    def stop(self):
        if self.server:
            server, self.server = self.server, None
            assert server.stop() == 0, f"the server failed:\n{(self.folder / 'server.log').read_text()}"

    def serve(self, text):
        self.stop()
        self.server = pages.Server(self.folder, command=["bash", "-c", "exec " + self.translate(text)],
                                   environment={**self.environment, "SOJOURN_LISTEN": "127.0.0.1:0"})
        self.environment["SOJOURN_URL"] = self.server.url
        self.output = f"listening on {self.server.url}\n".replace(self.server.url, "http://127.0.0.1:8080")

    def run(self, text):
        done = subprocess.run(["bash", "-c", self.translate(text)], cwd=self.folder, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=pages.DEADLINE, check=False)
        self.output = done.stdout if done.stdout.endswith("\n") or not done.stdout else done.stdout + "\n"
        if self.server:
            self.output = self.output.replace(self.server.url, "http://127.0.0.1:8080")
        return done.returncode

    def compare(self, shown, numbers):
        """What is wrong with the last output, or nothing."""
        pattern, new = pattern_of(shown, self.known, numbers)
        match = re.fullmatch(pattern, self.output)
        if not match:
            return f"it printed\n{self.output}\nbut shows\n{shown}"
        self.known.update({text: match.group(f"id{i}") for i, text in enumerate(new)})
        return None


class PageRunner(unittest.TestCase):
    def run_page(self, path, folder):
        page = Page(folder)
        try:
            for language, marks, text, number in pages.blocks(path):
                where = f"{path.name}:{number}:"
                if language == "sh" and "serve" in marks:
                    page.serve(text)
                elif language == "sh" and text.strip() == "# stop the server":
                    page.stop()
                elif language == "sh" and "run" in marks:
                    code = page.run(text)
                    expected = next((int(mark[5:]) for mark in marks if mark.startswith("exit=")), 0)
                    self.assertEqual(code, expected, f"{where} exited with {code}:\n{page.output}")
                elif language == "text" and marks and marks[0] in ("shows", "like"):
                    fault = page.compare(text, numbers=marks[0] == "like")
                    self.assertIsNone(fault, f"{where} {fault}")
                elif language == "sh" and path.name not in ELSEWHERE:
                    self.assertIn(text.strip(), NOT_RUN, f"{where} no test runs this")
                elif language == "toml" and "file" in "".join(marks) and path.name not in ELSEWHERE:
                    name = next(mark for mark in marks if mark.startswith("file=")).removeprefix("file=")
                    (folder / name).write_text(text, encoding="utf-8")
        finally:
            page.stop()


class Pages(PageRunner):
    def test_links_lead_somewhere(self):
        for page in pages.all_pages():
            for link in re.findall(r"\]\(([^)\s]+)\)", pages.without_blocks(page)):
                if re.match(r"[a-z]+://", link):
                    continue
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                with self.subTest(page=page.name, link=link):
                    self.assertTrue(target.exists(), "there is no such file")
                    if anchor:
                        self.assertIn(anchor, anchors(target))

    def test_paths_that_are_named_exist(self):
        rooms = "sojourn|docs|apps|scripts|sdk|cmake|tests|bench|demo|examples"
        for page in pages.all_pages():
            for path in re.findall(rf"`\.?/?((?:{rooms})/[\w./-]+)`", pages.without_blocks(page)):
                if re.search(r"NAME|apps/(?!counter|data-processor|session-test)", path):
                    continue  # a reader's own
                with self.subTest(page=page.name, path=path):
                    self.assertTrue((pages.ROOT / path).exists(), "there is no such file")

    def test_headers_that_are_included_exist(self):
        for page in pages.all_pages():
            for header in re.findall(r'#include "([\w/.]+)"|\b(sojourn/[\w/]+\.hpp)', page.read_text(encoding="utf-8")):
                path = header[0] or header[1]
                with self.subTest(page=page.name, header=path):
                    self.assertTrue((pages.ROOT / path).exists())

    def test_json_is_json_and_code_is_the_file_it_names(self):
        for page in pages.all_pages():
            for language, marks, text, number in pages.blocks(page):
                for mark in marks:
                    if mark.startswith("from="):
                        with self.subTest(page=page.name, line=number):
                            code = (pages.ROOT / mark.removeprefix("from=")).read_text(encoding="utf-8")
                            self.assertIn(text, code)
                if language in ("cpp", "c++"):
                    self.assertTrue(any(mark.startswith("from=") for mark in marks),
                                    f"{page.name}:{number}: C++ that no test compiles")

    def test_commands_do_what_the_page_says(self):
        for path in pages.all_pages():
            if path.name in OWN_TEST:
                continue
            with self.subTest(page=path.name), pages.temporary_folder() as folder:
                self.run_page(path, folder)

if __name__ == "__main__":
    unittest.main()
