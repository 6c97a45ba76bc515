"""Does on request what the end-to-end tests want to see of a worker."""

import asyncio
import os
import resource
import sys

from sojourn import App, Error, serve


class Probe(App):
    def echo(self, input):
        return input

    def hold(self, input):
        """Runs until the test closes the named pipe."""
        with open(input["gate"]) as gate:
            return {"held": gate.read()}

    async def wait_for_cancel(self, session, input):
        session.state["waited"] = True
        session.emit({"waiting": True})
        await asyncio.get_running_loop().create_future()

    def emit(self, session, input):
        """Shows each line of the named pipe as a partial output."""
        seen = []
        with open(input["gate"]) as gate:
            for line in gate:
                seen.append(line.strip())
                session.emit({"seen": seen})
        return {"seen": seen, "done": True}

    def fail(self, session, input):
        session.state["dropped"] = 1
        session.state["kept"] = "changed"
        self.secret_of_the_call = input
        raise ValueError("what went wrong: " + str(input))

    def refuse(self, input):
        raise Error("invalid_request", "this is not what I take", details={"given": input})

    def checkpoint_then_fail(self, session):
        session.state["before"] = 1
        session.record("probe.halfway", {"at": 1})
        session.checkpoint()
        session.state["after"] = 2
        raise RuntimeError("after the checkpoint")

    def end(self, session):
        session.state["last"] = "word"
        session.end()
        return "bye"

    def leave(self, input):
        print("last words", file=sys.stderr, flush=True)
        os._exit(input["code"])

    def say(self, session):
        print("to standard output")
        print("to standard error", file=sys.stderr)
        session.log.warning("to the log", number=7)
        return None

    def surroundings(self, session):
        with open("/proc/self/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        limits = {name: resource.getrlimit(getattr(resource, name))
                  for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE")}
        return {
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "no_new_privs": status["NoNewPrivs"].strip(),
            "descriptors": {name: _target(name) for name in os.listdir("/proc/self/fd") if _target(name)},
            "limits": limits,
            "pid": os.getpid(),
            "group": os.getpgid(0),
            "session_folder": str(session.folder) if hasattr(session, "folder") else None,
        }

    def set(self, session, input):
        for key, value in input.items():
            session.state[key] = value
        return dict(session.state)

    def state(self, session):
        return {"state": dict(session.state), "restored": session.restored}

    def pid(self):
        return os.getpid()

    def unserializable(self):
        return {"a": [1, {2, 3}]}

    def fork(self):
        """Leaves a process behind that left its group and its session, and has another parent."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writing, str(os.getpid()).encode())
                os.execv("/bin/sleep", ["sleep", "1000"])
            os._exit(0)
        os.waitpid(child, 0)
        return int(os.read(reading, 20))

    def write_file(self, input):
        with open("file", "wb") as file:
            file.write(bytes(input["bytes"]))


    def acquire(self, session, input):
        """Makes a folder for each name, whose clean-up is noted, and one thing that only this process can release."""
        folder = session.folder
        for name in input["names"]:
            note = {"path": str(folder / name)}
            session.resources.add(name, "folder", lambda name=name: self._release(folder, name), cleanup_note=note)
            (folder / name).mkdir()
        session.resources.add("closure", "connection", lambda: self._fail() if input.get("fails") else None)

    def _release(self, folder, name):
        (folder / name).rmdir()
        with open(folder / "released", "a") as file:
            file.write(name + "\n")

    def _fail(self):
        raise OSError("it does not let go")


def _target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:  # the descriptor by which the folder was listed
        return None


if __name__ == "__main__":
    serve(Probe)
