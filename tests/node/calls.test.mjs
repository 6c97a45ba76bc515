import assert from "node:assert/strict";
import test from "node:test";

import { App } from "../../sdk/node/index.js";
import { functionsOf } from "../../sdk/node/lib/app.js";
import { errorOf, start, started, types } from "./programs.mjs";

test("calls get input and session, sync and async, and answer null for nothing", async (t) => {
  const worker = await start(
    t,
    `run(input, session) { return [input, session === this.session, session.id, session.context.team]; }
     async later(input) { await sleep(1); return { input }; }
     nothing() {}
     static notOne() {}
     get neither() { return () => 1; }
     _hidden() {}
     setup() {}
     named = () => 1;`,
    { context: { team: "red" } },
  );
  assert.deepEqual((await worker.call("run", { a: 1 })).output, [{ a: 1 }, true, "sess_test", "red"]);
  assert.deepEqual((await worker.call("later", "x")).output, { input: "x" });
  assert.equal((await worker.call("nothing")).output, null);
  for (const name of [
    "walk",
    "setup",
    "_hidden",
    "constructor",
    "session",
    "notOne",
    "neither",
    "named",
    "toString",
  ]) {
    const error = await errorOf(worker.call(name));
    assert.equal(error.code, "function_not_found", name);
    assert.deepEqual(error.details, { functions: ["run", "later", "nothing"] });
  }
});

test("the greeting says what the app offers", async (t) => {
  const worker = started(t, "b() {} a() {}");
  assert.deepEqual(await worker.hello(), {
    type: "hello",
    protocol: 1,
    sdk: "sojourn-node/0.1.0",
    app: "main",
    functions: ["b", "a"],
    capabilities: ["progress", "checkpoint", "cancel", "resources", "app_call", "spare"],
  });
});

test("the greeting says whether the app acts on the end of its session", async (t) => {
  const worker = started(t, "run() {} onEnd() {}");
  assert.equal((await worker.hello()).capabilities.at(-1), "on_end");
});

test("inherited functions are functions too, and come first", () => {
  class Base extends App {
    b() {}
    unload() {}
  }
  class Top extends Base {
    a() {}
    b() {}
  }
  assert.deepEqual(functionsOf(Top), ["b", "a"]);
});

test("calls commit their state changes and events with the result", async (t) => {
  const worker = await start(
    t,
    `run(input, session) {
       session.state.set("count", session.state.get("count", 0) + input);
       session.state.delete("old");
       session.record("count.raised", { by: input });
       return session.state.get("count");
     }
     look() { return Object.fromEntries(this.session.state); }`,
    { state: { old: true, kept: 1 } },
  );
  const first = await worker.call("run", 2);
  assert.deepEqual([first.output, first.stateSet, first.stateDeleted], [2, { count: 2 }, ["old"]]);
  assert.deepEqual(first.events, [{ type: "count.raised", data: { by: 2 } }]);
  const second = await worker.call("run", 3);
  assert.deepEqual([second.stateSet, second.stateDeleted], [{ count: 5 }, []]);
  assert.deepEqual((await worker.call("look")).output, { kept: 1, count: 5 });
  assert.deepEqual((await worker.call("look", null, { state_set: { kept: 7 }, state_deleted: ["count"] })).output, {
    kept: 7,
  });
});

test("calls that throw drop their changes and fail alone", async (t) => {
  const worker = await start(
    t,
    `run(input, session) {
       session.state.set("a", input);
       session.record("never.seen");
       session.end();
       if (input === 2) this._deeper();
       return session.state.get("a");
     }
     _deeper() { throw new RangeError("no such thing \\ud800", { cause: new Error("the root") }); }
     async later() { await sleep(1); throw new TypeError("later"); }
     text() { throw "only text"; }
     nothing() { return Promise.reject(); }`,
  );
  await worker.call("run", 1);
  const error = await errorOf(worker.call("run", 2));
  assert.deepEqual(
    [error.code, error.retryable, error.message],
    ["app_error", false, "RangeError: no such thing \ufffd"],
  );
  assert.equal(error.details.type, "RangeError");
  assert.match(error.details.traceback, /at X._deeper .*main.mjs/);
  assert.match(error.details.traceback, /Caused by: Error: the root/);
  assert.doesNotMatch(error.details.traceback, /sdk\/node\/lib|node:internal/);
  const result = await worker.call("run", 3);
  assert.deepEqual([result.output, result.stateSet, result.events.length, result.end], [3, { a: 3 }, 1, true]);
  assert.equal((await errorOf(worker.call("later"))).message, "TypeError: later");
  assert.equal((await errorOf(worker.call("text"))).message, "string: 'only text'");
  assert.equal((await errorOf(worker.call("nothing"))).message, "undefined: undefined");
});

test("calls that throw an AppError keep its fields", async (t) => {
  const worker = await start(
    t,
    `run() { throw new AppError("busy", "try later", { retryable: true, details: { n: 1, odd: new Set([2]) } }); }
     plain() { throw new AppError("invalid_request", "no"); }`,
  );
  const error = await errorOf(worker.call());
  assert.deepEqual([error.code, error.message, error.retryable], ["busy", "try later", true]);
  assert.deepEqual(error.details, { n: 1, odd: "Set(1) { 2 }" });
  const plain = await errorOf(worker.call("plain"));
  assert.deepEqual([plain.code, plain.retryable, plain.details], ["invalid_request", undefined, {}]);
});

test("calls that answer what JSON cannot hold say where, and leave no state behind", async (t) => {
  const worker = await start(
    t,
    `run() { this.session.state.set("a", 1); return { rows: [1, new Map()] }; }
     state() { this.session.state.set("b", 1); this.session.state.set("a", NaN); }
     context(input, session) { session.context.x = 1; }
     large() { return "x".repeat(8 * 1024 * 1024); }
     heavy(input, session) {
       for (let n = 0; n < 4; n += 1) session.state.set("k" + n, "x".repeat(4 * 1024 * 1024 - 2));
       return "y".repeat(1024);
     }
     look() { return Object.fromEntries(this.session.state); }`,
  );
  const output = await errorOf(worker.call());
  assert.deepEqual([output.code, output.details], ["not_serializable", { pointer: "/rows/1" }]);
  const state = await errorOf(worker.call("state"));
  assert.deepEqual([state.code, state.details.pointer], ["not_serializable", ""]);
  assert.match(state.details.traceback, /at X.state/);
  assert.match((await errorOf(worker.call("context"))).message, /^TypeError: Cannot add property x/);
  for (const name of ["large", "heavy"]) assert.equal((await errorOf(worker.call(name))).code, "too_large");
  assert.deepEqual((await worker.call("look")).output, {});
});

test("calls carry large values both ways", async (t) => {
  const worker = await start(t, `run(input) { this.session.state.set("a", input.slice(0, 2e6)); return input; }`);
  const text = "é".repeat(4_000_000);
  const result = await worker.call("run", text);
  assert.equal(result.output, text);
  assert.equal(result.stateSet.a, text.slice(0, 2e6));
});

test("generators stream what they yield", async (t) => {
  const worker = await start(
    t,
    `*counts(input) { for (let n = 1; n <= input; n += 1) yield { n }; }
     async *words() { yield "a"; await sleep(1); yield "ab"; this.session.emitDelta("c"); return "abc"; }
     *none() {}
     async *fails() {
       this.session.state.set("a", 1);
       try { yield 1; throw new RangeError("half"); } finally { console.log("tidied"); }
     }
     *bad() { try { yield new Map(); } finally { console.log("tidied too"); } }
     look() { return this.session.state.size; }`,
  );
  const outputs = ({ before }) => before.map((frame) => frame.output ?? frame.delta);
  const counts = await worker.call("counts", 3);
  assert.deepEqual([outputs(counts), counts.output], [[{ n: 1 }, { n: 2 }, { n: 3 }], { n: 3 }]);
  const words = await worker.call("words");
  assert.deepEqual([outputs(words), words.output], [["a", "ab", "c"], "abc"]);
  assert.equal((await worker.call("none")).output, null);
  const error = await errorOf(worker.call("fails"));
  assert.deepEqual([error.message, types(error.before)], ["RangeError: half", ["progress"]]);
  assert.equal((await errorOf(worker.call("bad"))).code, "not_serializable");
  assert.equal((await worker.call("look")).output, 0);
  assert.equal(worker.output(), "tidied\ntidied too\n");
});

test("progress and log lines are sent at once and in order", async (t) => {
  const worker = await start(
    t,
    `run(input, session) {
       session.emit({ done: 1 });
       session.log.warn("half ü", { step: 2, odd: new Set([1]), long: ["x".repeat(9000)] });
       session.emit({ done: 2 });
       return "end";
     }
     setup(setup, session) { session.log.debug("y".repeat(9000)); }`,
  );
  const { before } = await worker.call();
  const request_id = "task_1";
  assert.deepEqual(before[0], { type: "progress", output: { done: 1 }, request_id });
  assert.deepEqual(before[2], { type: "progress", output: { done: 2 }, request_id });
  const { fields, ...line } = before[1];
  assert.deepEqual(line, { type: "log", level: "warning", message: "half ü", request_id });
  assert.deepEqual([fields.step, fields.odd, fields.long.length], [2, "Set(1) { 1 }", 8192 + " ... (cut)".length]);
});

test("a checkpoint commits in the middle, and is what a failing call falls back to", async (t) => {
  const worker = await start(
    t,
    `async run(input, session) {
       session.state.set("a", 1);
       session.record("half.done");
       const saving = session.checkpoint();
       session.state.set("a", 2);
       session.record("all.done", { n: 2 });
       await saving;
       if (input) throw new Error("x");
     }
     async caught(input, session) {
       session.state.set("b", 1);
       try { await session.checkpoint(); } catch (error) { return [error.code, error.message]; }
     }
     async twice(input, session) {
       const first = session.checkpoint();
       try { await session.checkpoint(); } catch (error) { await first; return error.code; }
     }
     forgotten(input, session) { session.state.set("f", 1); session.record("once"); session.checkpoint(); return 1; }
     look() { return Object.fromEntries(this.session.state); }`,
  );
  const result = await worker.call();
  assert.deepEqual(result.before[0].state_set, { a: 1 });
  assert.deepEqual(result.before[0].events, [{ type: "half.done", data: {} }]);
  assert.deepEqual([result.stateSet, result.events], [{ a: 2 }, [{ type: "all.done", data: { n: 2 } }]]);
  await errorOf(worker.call("run", true));
  assert.deepEqual((await worker.call("look")).output, { a: 1 });
  assert.equal((await worker.call("twice")).output, "conflict");
  const forgotten = await worker.call("forgotten");
  assert.deepEqual([forgotten.before[0].events.length, forgotten.events, forgotten.stateSet], [1, [], {}]);

  const request = worker.begin("caught");
  await worker.expect("checkpoint");
  worker.send({ type: "saved", request_id: request, error: { code: "store_full", message: "full" } });
  const caught = await worker.finish(request);
  assert.deepEqual([caught.output, caught.stateSet], [["store_full", "full"], { b: 1 }]);
});

test("events that the journal would refuse are refused", async (t) => {
  const worker = await start(
    t,
    `run(input, session) { session.record(...input); }
     many(input, session) { for (let n = 0; n < 1001; n += 1) session.record("a.b"); }
     heavy(input, session) { for (let n = 0; n < 40; n += 1) session.record("a.b", { a: "x".repeat(250_000) }); }`,
  );
  for (const type of [
    "",
    "A",
    "a b",
    "a.b\n",
    "x".repeat(65),
    "call.completed",
    "session.x",
    "log",
    "logged",
    null,
    1,
  ]) {
    assert.equal((await errorOf(worker.call("run", [type]))).code, "invalid_request", String(type));
  }
  for (const [name, input] of [["run", ["a.b", { a: "x".repeat(262_144) }]], ["many"], ["heavy"]]) {
    assert.equal((await errorOf(worker.call(name, input))).code, "too_large", name);
  }
  assert.match((await errorOf(worker.call("run", ["a.b", [1]]))).message, /plain object/);
});

test("another app is called by the way, several at once, and its error is the caller's", async (t) => {
  const worker = await start(
    t,
    `async run(input, session) {
       const both = [session.callApp("a", "one", 1), session.callApp("b")];
       const settled = await Promise.allSettled(both);
       return settled.map(({ value, reason }) => value ?? [reason instanceof AppError, reason.code, reason.details]);
     }`,
  );
  const request = worker.begin();
  const first = await worker.expect("app_call");
  const second = await worker.expect("app_call");
  assert.deepEqual(
    [first.app, first.function, first.input, second.function, second.input],
    ["a", "one", 1, "run", null],
  );
  const error = { code: "queue_full", message: "later", retryable: true, details: { n: 1 } };
  worker.send({ type: "app_result", call_id: second.call_id, error });
  worker.send({ type: "app_result", call_id: first.call_id, output: { ok: 1 } });
  assert.deepEqual((await worker.finish(request)).output, [{ ok: 1 }, [true, "queue_full", { n: 1 }]]);
});

test("what works only in a call says so outside of one", async (t) => {
  const worker = await start(
    t,
    `async setup(setup, session) {
       this.codes = [];
       for (const step of [() => session.emit(1), () => session.record("a.b"), () => session.end(),
                           () => session.checkpoint(), () => session.callApp("a")]) {
         try { await step(); } catch (error) { this.codes.push(error.code); }
       }
       this.outside = [session.cancelRequested, session.signal.aborted, session.timeLeft === Infinity];
     }
     run() { return [this.codes, this.outside]; }`,
  );
  assert.deepEqual((await worker.call()).output, [Array(5).fill("invalid_request"), [false, false, true]]);
});
