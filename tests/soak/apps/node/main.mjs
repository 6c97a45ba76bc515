// What apps/cold/main.py does, in JavaScript.
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { App, AppError, serve } from "../../../../sdk/node/index.js";

class Soaked extends App {
  count(input, session) {
    return step(session);
  }

  async *stream(input, session) {
    for (let number = 0; number < input.times; ++number) {
      yield { at: number };
      session.emitDelta({ more: number });
    }
    return step(session);
  }

  fail(input, session) {
    step(session);
    console.log("what is printed becomes an event");
    throw new AppError("app_error", "as asked");
  }

  async until_cancelled(input, session) {
    step(session);
    session.emit({ waiting: true });
    await sleep(3_600_000, null, { signal: session.signal });
  }

  async deaf(input, session) {
    session.emit({ waiting: true });
    await sleep(3_600_000);
  }

  async pause(input, session) {
    await sleep(input.seconds * 1000);
    return step(session);
  }

  async copy_file(input, session) {
    const content = await fs.readFile(input.file.path);
    await fs.writeFile("copy", content);
    const sha256 = createHash("sha256").update(content).digest("hex");
    return { ...step(session), sha256, copy: { file: { path: "copy" } } };
  }

  async acquire(input, session) {
    const output = step(session);
    const folder = path.join(session.folder, `acquired-${output.n}`);
    const close = () => fs.rmdir(folder);
    await session.resources.add({ id: path.basename(folder), kind: "folder", cleanup: { path: folder }, close });
    await fs.mkdir(folder);
    return output;
  }

  end(input, session) {
    session.end();
    return step(session);
  }
}

function step(session) {
  session.state.set("n", session.state.get("n", 0) + 1);
  return { n: session.state.get("n") };
}

serve(Soaked);
