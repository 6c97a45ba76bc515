import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import test from "node:test";

import { errorOf, program, sdk, start, started } from "./programs.mjs";

const opening = { type: "open", session: "s", context: {}, state: {} };

// Beginning

test("the session is there in constructors, fields and setup, its context frozen at any depth", async (t) => {
  const worker = await start(
    t,
    `id = this.session.id;
     async setup(setup, session) {
       this.seen = [this.id, setup, session.restored, session.appVersion, session.folder === process.cwd()];
       for (const attempt of [() => (session.context.a.b[0] = 2), () => session.context.a.b.push(1),
                              () => delete session.context.a, () => (session.id = "x"), () => (setup.size = 2)]) {
         try { attempt(); this.seen.push("changed"); } catch (error) { this.seen.push(error.name); }
       }
     }
     run() { return this.seen; }`,
    { context: { a: { b: [1] } }, setup: { size: 1 }, app_version: "2" },
  );
  const type = Array(5).fill("TypeError");
  assert.deepEqual((await worker.call()).output, ["sess_test", { size: 1 }, false, "2", true, ...type]);
});

test("setup that throws answers open with its error and closes what it acquired", async (t) => {
  for (const [body, code, message] of [
    [
      `setup() {
         this.session.resources.add({ kind: "r", close: () => console.log("closed") });
         throw new Error("no model");
       }`,
      "app_error",
      "Error: no model",
    ],
    [
      `constructor() {
         super();
         this.session.resources.add({ kind: "r", close: () => console.log("closed") });
         null.x;
       }`,
      "app_error",
      "TypeError: Cannot read properties of null (reading 'x')",
    ],
    [
      `async setup() { await this.session.resources.add({ kind: "r", close: () => console.log("closed") });
       throw new AppError("unavailable", "later", { retryable: true }); }`,
      "unavailable",
      "later",
    ],
  ]) {
    const worker = started(t, `${body}\nunload() { console.log("unloaded"); }`);
    await worker.hello();
    const error = await errorOf(worker.open());
    assert.deepEqual([error.code, error.message], [code, message]);
    assert.equal(await worker.exited, 1);
    assert.equal(worker.output(), "closed\n");
  }
});

test("a spare enters its session's folder and environment when it opens", async (t) => {
  const worker = started(
    t,
    `static loaded = [process.cwd(), "SOJOURN_SESSION" in process.env, "HOME" in process.env, "TMPDIR" in process.env];
     setup(setup) { this.begun = [setup, process.cwd()]; }
     run() {
       const { SOJOURN_SESSION, HOME, TMPDIR } = process.env;
       return { loaded: X.loaded, begun: this.begun, now: [process.cwd(), SOJOURN_SESSION, HOME, TMPDIR] };
     }`,
    { spare: true },
  );
  assert((await worker.hello()).capabilities.includes("spare"));
  await worker.open({ session: "sess_own", setup: 7 });
  const { folder } = worker;
  assert.deepEqual((await worker.call()).output, {
    loaded: [path.dirname(worker.process.spawnargs.at(-1)), false, false, false],
    begun: [7, folder],
    now: [folder, "sess_own", folder, path.join(folder, "tmp")],
  });
  await worker.close();
});

test("a spare of a session without a folder stays where it is", async (t) => {
  const worker = started(t, `run() { return ["HOME" in process.env, process.cwd()]; }`, { spare: true });
  await worker.hello();
  await worker.open({ folder: undefined });
  assert.deepEqual((await worker.call()).output, [false, path.dirname(worker.process.spawnargs.at(-1))]);
});

test("a spare that never gets a session closes when it is told to, and ends with its server", async (t) => {
  const told = started(t, `unload() { console.log("unloaded"); }`, { spare: true });
  await told.hello();
  await told.close("server_stopping");
  assert.equal(told.output(), "");
  const left = started(t, ``, { spare: true });
  await left.hello();
  left.hangUp();
  assert.equal(await left.exited, 0);
});

test("setup commits its state with the first call that succeeds", async (t) => {
  const worker = await start(
    t,
    `setup() { this.session.state.set("made", 1); }
     run(input) { if (!input) throw new Error("x"); }`,
  );
  await errorOf(worker.call("run", 0));
  assert.deepEqual((await worker.call("run", 1)).stateSet, { made: 1 });
  assert.deepEqual((await worker.call("run", 1)).stateSet, {});
});

test("restore takes the place of setup where another worker served the session before", async (t) => {
  const body = `setup(setup) { this.by = ["setup", setup]; }
    restore(setup, session) { this.by = ["restore", setup, session.state.get("a")]; }
    run() { return this.by; }`;
  const restored = await start(t, body, { state: { a: 1 }, setup: "s", restored: true });
  assert.deepEqual((await restored.call()).output, ["restore", "s", 1]);
  assert.deepEqual((await (await start(t, body, { setup: "s" })).call()).output, ["setup", "s"]);
  const without = await start(t, `setup() { this.a = 7; } run() { return this.a; }`, { restored: true });
  assert.equal((await without.call()).output, 7);
});

test("a program that nobody started as a worker says what to do", (t) => {
  const file = program(t, "run() {}");
  const { status, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8" });
  assert.equal(status, 1);
  assert.match(stderr, /sojourn serve --apps FOLDER\n {4}sojourn run sojourn-test-\w+ --session new/);
});

test("a class that cannot be served is refused", () => {
  const importing = `import { App, serve } from ${JSON.stringify(path.join(sdk, "index.js"))};`;
  for (const [code, words] of [
    ["serve(class {})", "extends App"],
    ["serve({})", "extends App"],
    ["serve(class X extends App { run(a, b, c) {} })", "X.run has 3 parameters; a function takes (input, session)"],
  ]) {
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", `${importing}${code}`], {
      encoding: "utf8",
    });
    assert.ok(stderr.includes(`TypeError: `) && stderr.includes(words), stderr);
  }
});

// While a call runs

const WAITING = `
  async run(input, session) {
    session.log.info("running");
    await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    return [session.cancelRequested, session.signal.reason.code];
  }
  async fetching(input, session) {
    session.log.info("running");
    await sleep(60_000, null, { signal: session.signal });
  }
  hard(input, session) {
    session.log.info("running");
    busy(60_000, () => session.cancelRequested);
    return session.cancelRequested;
  }
  async aborts(input, session) {
    session.log.info("running");
    busy(60_000, () => session.cancelRequested);
    await sleep(0);
    session.signal.throwIfAborted();
  }
  async *streams(input, session) {
    session.log.info("running");
    try { for (let n = 0; ; n += 1) yield n; } finally { console.log("tidied"); }
  }
  quick(input, session) { return [session.cancelRequested, session.signal.aborted]; }
  unload() { console.log("unloaded"); }`;

test("a ping is answered and a cancel is seen while an async function waits", async (t) => {
  const worker = await start(t, WAITING);
  const request = worker.begin();
  await worker.expect("log");
  for (const n of [1, 2.5]) {
    worker.send({ type: "ping", n });
    assert.deepEqual(await worker.expect("pong"), { type: "pong", n });
  }
  worker.send({ type: "cancel", request_id: "another" });
  worker.send({ type: "ping", n: 3 });
  await worker.expect("pong");
  worker.send({ type: "cancel", request_id: request });
  assert.deepEqual((await worker.finish(request)).output, [true, "cancelled"]);
  assert.deepEqual((await worker.call("quick")).output, [false, false]);
});

test("onEnd runs before unload where the session is over, and only there", async (t) => {
  for (const reason of ["ended", "expired", "sleeping", "server_stopping"]) {
    const worker = await start(
      t,
      `run() {}
       async onEnd(session, why) { console.log("over: " + why); }
       unload() { console.log("unloaded"); }`,
    );
    await worker.call();
    assert.deepEqual(await worker.close(reason), []);
    await worker.exited;
    const over = reason === "ended" || reason === "expired";
    assert.equal(worker.output(), (over ? `over: ${reason}\n` : "") + "unloaded\n");
  }
});

test("what the signal aborts fails as cancelled", async (t) => {
  const worker = await start(t, WAITING);
  for (const name of ["fetching", "aborts", "streams"]) {
    const request = worker.begin(name);
    await worker.expect("log");
    worker.send({ type: "cancel", request_id: request });
    assert.equal((await errorOf(worker.finish(request))).code, "cancelled", name);
  }
  assert.match(worker.output(), /tidied/);
  assert.deepEqual((await worker.call("quick")).output, [false, false]);
});

test("a ping is answered and a cancel is seen by busy code that asks for it", async (t) => {
  const worker = await start(t, WAITING);
  const request = worker.begin("hard");
  await worker.expect("log");
  worker.send({ type: "ping", n: 1 });
  await worker.expect("pong");
  worker.send({ type: "cancel", request_id: request });
  assert.equal((await worker.finish(request)).output, true);
});

test("a ping is answered by code that keeps the event loop busy and emits", async (t) => {
  const worker = await start(
    t,
    `run(input, session) {
       session.log.info("running");
       busy(60_000, () => { session.emit(1); return fs.existsSync("go"); });
     }`,
  );
  const request = worker.begin();
  await worker.expect("log");
  worker.send({ type: "ping", n: 1 });
  while ((await worker.receive()).type !== "pong");
  const { writeFileSync } = await import("node:fs");
  writeFileSync(path.join(worker.folder, "go"), "");
  await worker.finish(request);
});

test("onCancel is called once; what it returns decides whether the signal is aborted", async (t) => {
  const body = (hook) => `
    async run(input, session) {
      session.log.info("running");
      await new Promise((resolve) => { this.stop = resolve; session.signal.addEventListener("abort", resolve); });
      return [this.calls, session.signal.aborted, session.cancelRequested];
    }
    calls = 0;
    ${hook}
    again() { return this.calls; }`;
  for (const [hook, aborted, said] of [
    [`onCancel(session) { this.calls += 1; this.stop(); return session.cancelRequested; }`, false],
    [`async onCancel() { this.calls += 1; await sleep(1); this.stop(); return true; }`, false],
    [`onCancel() { this.calls += 1; }`, true],
    [`async onCancel() { this.calls += 1; throw new Error("jammed"); }`, true, /jammed/],
  ]) {
    const worker = await start(t, body(hook));
    const request = worker.begin();
    await worker.expect("log");
    worker.send({ type: "cancel", request_id: request });
    worker.send({ type: "cancel", request_id: request });
    assert.deepEqual((await worker.finish(request)).output, [1, aborted, true], hook);
    worker.send({ type: "cancel", request_id: request }); // it is over
    assert.equal((await worker.call("again")).output, 1);
    if (said) assert.match(worker.output(), said);
  }
});

test("a cancel seen by busy code runs nothing before control is back, and nothing after the call", async (t) => {
  const body = (rest) => `
    order = [];
    ${rest}
    onCancel() { this.order.push("hook"); }
    look() { return this.order; }`;
  const seen = async (rest) => {
    const worker = await start(t, body(rest));
    const request = worker.begin();
    await worker.expect("log");
    worker.send({ type: "cancel", request_id: request });
    await worker.finish(request);
    return (await worker.call("look")).output;
  };
  const busy = `session.log.info("running"); busy(60_000, () => session.cancelRequested);`;
  assert.deepEqual(
    await seen(
      `async run(input, session) { ${busy} this.order.push("code"); await sleep(1); this.order.push("end"); }`,
    ),
    ["code", "hook", "end"],
  );
  assert.deepEqual(await seen(`run(input, session) { ${busy} this.order.push("code"); }`), ["code"]);
});

test("a call does not begin inside other code of the app", async (t) => {
  const worker = await start(
    t,
    `setup(setup, session) {
       setInterval(() => { this.inside = true; busy(20); session.log.info("tick"); this.inside = false; }, 1);
     }
     run() { return this.inside; }`,
  );
  for (let n = 0; n < 10; n += 1) assert.equal((await worker.call()).output ?? false, false);
});

test("a call knows how long it may take", async (t) => {
  const worker = await start(t, `run(input, session) { return session.timeLeft; }`);
  const { output } = await worker.call("run", null, { deadline_ms: 5000 });
  assert.ok(output > 0 && output <= 5000, String(output));
});

test("close waits for the end of the call", async (t) => {
  const worker = await start(t, WAITING);
  const request = worker.begin();
  await worker.expect("log");
  worker.send({ type: "close", reason: "server_stopping" });
  worker.send({ type: "cancel", request_id: request });
  await worker.finish(request);
  assert.deepEqual((await worker.expect("closed")).failures, []);
  assert.equal(await worker.exited, 0);
});

test("a server that goes away cancels the call, and the worker cleans up", async (t) => {
  for (const name of ["run", "hard", "fetching"]) {
    const worker = await start(t, WAITING);
    worker.begin(name);
    await worker.expect("log");
    worker.hangUp();
    assert.equal(await worker.exited, 0);
    assert.match(worker.output(), /unloaded/);
  }
});

test("what waits for a server that went away is told", async (t) => {
  const worker = await start(
    t,
    `async run(input, session) {
       for (const step of [() => session.checkpoint(), () => session.callApp("a"), () => session.checkpoint()]) {
         try { await step(); } catch (error) { console.log(error.code); }
       }
     }`,
  );
  worker.begin();
  await worker.expect("checkpoint");
  worker.hangUp();
  assert.equal(await worker.exited, 0);
  assert.equal(worker.output(), "unavailable\n".repeat(3));
});

test("what breaks the protocol is told and ends the worker after it cleaned up", async (t) => {
  for (const [data, words] of [
    [Buffer.from([0, 0, 0, 0]), "a frame of 0 bytes"],
    [Buffer.from('\0\0\0\x12{"type":"x","n":1}'), 'an unexpected frame "x"'],
    [Buffer.from('\0\0\0\x0f{"type":"call"}'), 'without the text "request_id"'],
    [Buffer.from('\0\0\0\x0f{"type":"open"}'), 'an unexpected frame "open"'],
    [Buffer.from('\0\0\0\x13{"type":"toString"}'), 'an unexpected frame "toString"'],
  ]) {
    const worker = await start(t, `unload() { console.log("unloaded"); } run() {}`);
    worker.sendRaw(data);
    const error = await worker.expect("error");
    assert.deepEqual([error.code, error.request_id], ["protocol_error", undefined]);
    assert.ok(error.message.includes(words), error.message);
    assert.equal(await worker.exited, 1);
    assert.match(worker.output(), /unloaded/);
  }
  const early = started(t, "run() {}");
  early.send(opening);
  assert.match((await early.expect("error")).message, /"open" before hello/);
  const newer = started(t, "run() {}");
  newer.send({ type: "hello", protocol: 2 });
  assert.match((await newer.expect("error")).message, /speaks protocol 1/);
});

test("a server that reads late slows the worker down and loses nothing", async (t) => {
  const worker = await start(
    t,
    `run(input, session) {
       for (let n = 0; n < 40; n += 1) session.emit(n + " " + "x".repeat(100_000));
       return "end";
     }`,
  );
  worker.process.stdio[3].pause();
  const request = worker.begin();
  await new Promise((resolve) => setTimeout(resolve, 100)); // real time: the worker fills the socket and waits
  worker.process.stdio[3].resume();
  const { before, output } = await worker.finish(request);
  assert.deepEqual([before.map((frame) => parseInt(frame.output)), output], [[...Array(40).keys()], "end"]);
});

test("timers and other work of the app go on between calls", async (t) => {
  const worker = await start(
    t,
    `ticks = 0;
     setup() { setInterval(() => (this.ticks += 1), 1); }
     run() { return this.ticks; }`,
  );
  const { output } = await worker.call();
  while ((await worker.call()).output <= output + 3);
  assert.deepEqual(await worker.close(), []);
});

test("prints appear at once, in order", async (t) => {
  const worker = await start(t, `run() { console.log("out"); console.error("err"); process.stdout.write("half"); }`);
  await worker.call();
  assert.equal(worker.output(), "out\nerr\nhalf");
});

test("a process that the app starts does not hold the socket", async (t) => {
  const worker = await start(
    t,
    `async run() {
       const { spawnSync } = await import("node:child_process");
       return spawnSync("/bin/sh", ["-c", "ls -l /proc/self/fd"], { encoding: "utf8" }).stdout;
     }`,
  );
  assert.doesNotMatch((await worker.call()).output, / 3 -> socket/);
});

// The end

test("close runs unload, then closes resources newest first, tries all and reports each failure", async (t) => {
  const worker = await start(
    t,
    `async run(input, session) {
       const { resources } = session;
       const first = () => console.log("first");
       const id = await resources.add({ id: "first", kind: "file", cost: 5, cleanup: { path: "/x" }, close: first });
       await resources.add({ kind: "thread", close() { throw new RangeError("stuck"); } });
       resources.add({ id: "later", kind: "page", close: async () => { await sleep(1); console.log("later"); } });
       resources.add({ id: "gone", kind: "file", close: () => console.log("never") });
       resources.add({ id: "rejects", kind: "page", close: () => Promise.reject(new AppError("busy", "no")) });
       return [id, resources.release("gone"), resources.release("gone"), resources.size, resources.has("later"),
               [...resources][1]];
     }
     unload() { console.log("unload"); throw new TypeError("half"); }`,
  );
  const { output, before } = await worker.call();
  assert.deepEqual(output, ["first", true, false, 4, true, { id: "thread-1", kind: "thread", cost: 0 }]);
  assert.deepEqual(before[0], {
    type: "resource",
    op: "add",
    id: "first",
    kind: "file",
    cost: 5,
    cleanup: { path: "/x" },
    n: 1,
  });
  assert.deepEqual(before.at(-1), { type: "resource", op: "release", id: "gone" });
  assert.deepEqual(await worker.close(), [
    { id: "unload", kind: "app", message: "TypeError: half" },
    { id: "rejects", kind: "page", message: "AppError: no" },
    { id: "thread-1", kind: "thread", message: "RangeError: stuck" },
  ]);
  const said = worker
    .output()
    .split("\n")
    .filter((line) => /^(unload|later|first|never)$/.test(line));
  assert.deepEqual(said, ["unload", "later", "first"]);
});

test("a resource is refused where it could not be cleaned up, and forgotten where not noted", async (t) => {
  const worker = await start(
    t,
    `async run(input, session) {
       const seen = [];
       const close = () => {};
       for (const bad of [{ kind: "", close }, { kind: "k" }, { kind: "k", close, cost: 1.5 },
                          { kind: "k", close, id: 7 },
                          { kind: "k", close, cleanup: { path: undefined } }]) {
         try { await session.resources.add(bad); } catch (error) { seen.push(error instanceof TypeError); }
       }
       await session.resources.add({ id: "a", kind: "k", close });
       try { await session.resources.add({ id: "a", kind: "k", close }); } catch (error) { seen.push(error.code); }
       const cleanup = { path: "/x" };
       try { await session.resources.add({ id: "b", kind: "k", close, cleanup }); }
       catch (error) { seen.push(error.code); }
       return [seen, [...session.resources].map(({ id }) => id)];
     }`,
  );
  const request = worker.begin();
  assert.equal((await worker.expect("resource")).id, "a");
  const { n } = await worker.expect("resource");
  worker.send({ type: "noted", n, error: { code: "store_full", message: "full" } });
  const { output } = await worker.finish(request);
  assert.deepEqual(output, [[true, true, true, true, true, "already_exists", "store_full"], ["a"]]);
});

test("a clean-up that does not end is left behind at its deadline", async (t) => {
  const { cleanUp } = await import("../../sdk/node/lib/cleaning.js");
  const { Resources } = await import("../../sdk/node/lib/resources.js");
  const resources = new Resources({ send() {} });
  const closed = [];
  await resources.add({ id: "last", kind: "k", close: () => closed.push("last") });
  await resources.add({ id: "slow", kind: "k", close: () => new Promise(() => {}) });
  const failures = await cleanUp(null, { resources }, "ended", 0.02);
  assert.deepEqual(failures, [{ id: "slow", kind: "k", message: "Error: not done after 0.02 s" }]);
  assert.deepEqual(closed, ["last"]);
});

test("TERM, an exit and what nobody caught end the process after the clean-up", async (t) => {
  for (const [step, code, said, answer] of [
    [`process.kill(process.pid, "SIGTERM"); await sleep(60_000);`, 143, "closed later\nclosed\n", null],
    [`process.exit(7);`, 7, "closed\n", null],
    [
      `setTimeout(() => { throw new RangeError("stray"); }); await sleep(60_000);`,
      1,
      "closed later\nclosed\n",
      "RangeError: stray",
    ],
    [
      `Promise.reject(new RangeError("stray")); await sleep(60_000);`,
      1,
      "closed later\nclosed\n",
      "RangeError: stray",
    ],
  ]) {
    const worker = await start(
      t,
      `async run(input, session) {
         session.resources.add({ kind: "r", close: () => console.log("closed") });
         session.resources.add({ kind: "r", close: async () => { await sleep(1); console.log("closed later"); } });
         ${step}
       }`,
    );
    const request = worker.begin();
    await worker.expect("resource");
    await worker.expect("resource");
    if (answer) assert.equal((await errorOf(worker.finish(request))).message, answer);
    assert.equal(await worker.receive(), null);
    assert.equal(await worker.exited, code, step);
    assert.ok(worker.output().endsWith(said), worker.output());
    if (code === 7) assert.match(worker.output(), /exits before the clean-up of r-2 is done/);
  }
});

test("an app with its own way for what nobody caught keeps it", async (t) => {
  const worker = await start(
    t,
    `setup() { process.on("uncaughtException", (error) => console.log("own", error.message)); }
     async run() { setTimeout(() => { throw new Error("stray"); }); await sleep(10); return "well"; }`,
  );
  assert.equal((await worker.call()).output, "well");
  assert.equal(worker.output(), "own stray\n");
});
