"""What the soak calls. Each call that completes has added 1 to the state `n`, and says so."""

import asyncio
import hashlib
import os
import time

from sojourn import App, serve


class Soaked(App):
    def _step(self, session):
        session.state["n"] = session.state.get("n", 0) + 1
        return {"n": session.state["n"]}

    def count(self, session):
        return self._step(session)

    async def stream(self, session, input):
        for number in range(input["times"]):
            session.emit({"at": number})
            session.emit_delta({"more": number})
            await asyncio.sleep(0)
        return self._step(session)

    def fail(self, session):
        self._step(session)
        print("what is printed becomes an event")
        raise ValueError("as asked")

    async def until_cancelled(self, session):
        self._step(session)
        session.emit({"waiting": True})
        await asyncio.get_running_loop().create_future()

    def deaf(self, session):
        """Hears no cancel, so its worker is killed."""
        session.emit({"waiting": True})
        time.sleep(3600)

    def pause(self, session, input):
        time.sleep(input["seconds"])
        return self._step(session)

    def copy_file(self, session, input):
        with open(input["file"]["path"], "rb") as file:
            content = file.read()
        with open("copy", "wb") as file:
            file.write(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return {**self._step(session), "sha256": sha256, "copy": {"file": {"path": "copy"}}}

    def acquire(self, session):
        output = self._step(session)
        folder = session.folder / f"acquired-{output['n']}"
        note = {"path": str(folder)}
        session.resources.add(folder.name, "folder", folder.rmdir, cleanup_note=note)
        folder.mkdir()
        return output

    def end(self, session):
        session.end()
        return self._step(session)

    def leave_daemons(self, session, input):
        """Forks a child, and a daemon that left group, session, parent, folder and environment. Each bears the
        caller's mark as its name."""
        if os.fork() == 0:
            sleep(input["mark"])
        between = os.fork()
        if between == 0:
            os.setsid()
            os.chdir("/")
            if os.fork() == 0:
                sleep(input["mark"])
            os._exit(0)
        os.waitpid(between, 0)
        return self._step(session)


def sleep(name):
    os.closerange(3, 100)
    os.execve("/bin/sleep", [name, "3600"], {})


if __name__ == "__main__":
    serve(Soaked)
