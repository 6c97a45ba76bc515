"""Counts, and leaves processes behind that nothing but Sojourn would find."""

import os

from sojourn import App, serve


class Leaver(App):
    def increment(self, session, input):
        previous = session.state.get(input["key"], 0)
        session.state[input["key"]] = previous + 1
        return {"current": previous + 1}

    def leave(self, input):
        """Forks a child, and a daemon that left group, session, parent, folder and environment. Each bears in its
        name this worker's id and start time."""
        with open("/proc/self/stat") as file:
            start = file.read().rpartition(")")[2].split()[19]
        name = f"{input['mark']} {os.getpid()} {start}"
        if os.fork() == 0:
            sleep(name)
        between = os.fork()
        if between == 0:
            os.setsid()
            os.chdir("/")
            if os.fork() == 0:
                sleep(name)
            os._exit(0)
        os.waitpid(between, 0)


def sleep(name):
    os.closerange(3, 100)
    os.execve("/bin/sleep", [name, "1000"], {})


if __name__ == "__main__":
    serve(Leaver)
