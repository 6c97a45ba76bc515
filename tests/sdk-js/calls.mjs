// Calls as the official SDK runs, follows and cancels them.
import assert from "node:assert/strict";

import { createLLMDeltaAccumulator, isTerminalStatus } from "@inferencesh/sdk";

import { client, gate, inference, model, rejection, sessionTest, test, until } from "./server.mjs";

const probe = (name, input, more = {}, options = {}) =>
  inference.run({ app: "tests/probe", function: name, input, session: "new", ...more }, options);

test("the answer to run is never final", async () => {
  for (let n = 0; n < 20; ++n) {
    const task = await sessionTest("get_all", {}, {});
    const { session_id: session } = task;
    const begun = await inference.run({ app: "session-test", input: {}, session }, { wait: false });
    assert.equal(isTerminalStatus(begun.status), false, `status ${begun.status}`);
    assert.equal(begun.session_id, session);
  }
});

test("every call that is followed settles, also the quickest", async () => {
  const { session_id: session } = await sessionTest("get_all", {});
  for (let n = 0; n < 50; ++n) assert.equal((await sessionTest("get_all", {}, { session })).status, 10);
  const many = Array.from({ length: 50 }, () => sessionTest("get_all", {}, { session }));
  assert.ok((await Promise.all(many)).every((task) => task.status === 10 && task.session_id === session));
});

test("every call that is polled settles", async () => {
  const polling = client({ stream: false, pollIntervalMs: 5 });
  for (let n = 0; n < 20; ++n) {
    const updates = [];
    const run = { app: "counter", input: { key: "n" }, session: "new" };
    const task = await polling.run(run, { onUpdate: (seen) => updates.push(seen.status) });
    assert.deepEqual([task.status, task.output.current], [10, 1]);
    assert.notEqual(task.session_id, "new");
    assert.equal(updates.at(-1), 10);
  }
});

test("partial outputs are shown as they come and keep the session's id", async () => {
  const [partials, updates] = [[], []];
  const running = probe("emit", { gate: `${process.env.SDK_JS_GATES}/partial` }, {}, {
    onUpdate: (task) => updates.push(task),
    onPartialUpdate: (task, fields) => fields.includes("output") && partials.push(task),
  });
  const pipe = await gate("partial");
  await until(() => updates.length > 0);
  for (const [count, word] of ["one", "two", "three"].entries()) {
    await pipe.write(`${word}\n`);
    await until(() => partials.length > count);
  }
  await pipe.close();
  const task = await running;
  assert.deepEqual(partials.map((each) => each.output.seen.length), [1, 2, 3]);
  assert.ok([...partials, ...updates].every((each) => each.session_id === task.session_id && each.id === task.id));
  assert.deepEqual(task.output, { seen: ["one", "two", "three"], done: true });
  assert.equal(updates.at(-1).status, 10);
});

test("deltas add up to the answer, from its first word on", async () => {
  const setup = { endpoint: model, model: "stand-in" };
  for (let n = 0; n < 10; ++n) {
    const answer = createLLMDeltaAccumulator();
    const numbers = [];
    const onDelta = (delta, seq) => {
      answer.apply(delta);
      numbers.push(seq);
    };
    const task = await inference.run(
      { app: "chat-with-memory", input: { message: `message ${n}` }, session: "new", setup }, { onDelta });
    assert.match(task.output.response, /^I am a stand-in/);
    // A call that was over before it could be followed shows its output alone.
    if (numbers.length > 0) assert.equal(answer.toOutput().response, task.output.response);
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  }
});

test("deltas of a call that is followed late are all told", async () => {
  const setup = { endpoint: process.env.SDK_JS_SLOW_MODEL, model: "stand-in" };
  const run = { app: "chat-with-memory", input: { message: "hello" }, session: "new", setup };
  const begun = await inference.run(run, { wait: false });
  const follow = () => {
    const words = [];
    const watch = inference.tasks.watch(begun, { onDelta: (delta) => words.push(delta.response) });
    return { words, ...watch };
  };
  const early = follow();
  await until(() => early.words.length === 3);
  const late = follow();
  await until(() => late.words.length === 3);
  assert.deepEqual(late.words, ["I ", "am ", "a "]);
  early.done.catch(() => {});
  late.done.catch(() => {});
  await inference.cancel(begun.id);
  assert.equal((await rejection(late.done)).message, "task cancelled");
});

test("a call that fails rejects with the app's words, and its session goes on", async () => {
  const { session_id: session } = await probe("echo", 1);
  for (const stream of [true, false]) {
    const options = { stream, pollIntervalMs: 5 };
    const error = await rejection(probe("fail", "this", { session }, options));
    assert.equal(error.message, "ValueError: what went wrong: this");
  }
  assert.deepEqual((await probe("echo", { a: [1] }, { session })).output, { a: [1] });
});

test("a cancelled call rejects, and its session goes on", async () => {
  const { session_id: session } = await probe("echo", 1);
  for (const options of [{}, { stream: false, pollIntervalMs: 5 }]) {
    const begun = await probe("wait_for_cancel", {}, { session }, { wait: false });
    const done = rejection(inference.tasks.watch(begun, options).done);
    await until(async () => (await inference.getTask(begun.id)).data.status === 7);
    const { data: asked } = await inference.cancel(begun.id);
    assert.equal(asked.id, begun.id);
    assert.equal((await done).message, "task cancelled");
    assert.equal((await inference.getTask(begun.id)).data.status, 12);
  }
  assert.equal((await probe("echo", 2, { session })).output, 2);
});

test("cancelling a call that is over changes nothing", async () => {
  const task = await probe("echo", 1);
  assert.equal((await inference.cancel(task.id)).data.status, 10);
});

test("a call that is over can be got and followed", async () => {
  const task = await probe("echo", { a: 1 });
  const { data: got } = await inference.getTask(task.id);
  assert.deepEqual([got.status, got.output, got.session_id, got.input], [10, { a: 1 }, task.session_id, { a: 1 }]);
  assert.deepEqual((await inference.tasks.watch({ id: task.id, status: 7 }).done).output, { a: 1 });
});

test("an unknown task is 404 to read, to follow and to cancel", async () => {
  for (const promise of [inference.getTask("task_none"), inference.cancel("task_none")]) {
    assert.equal((await rejection(promise)).statusCode, 404);
  }
  assert.match((await rejection(inference.tasks.watch({ id: "task_none", status: 7 }).done)).message, /^HTTP 404: /);
});

test("server-sent events tell the same", async () => {
  const pipe = gate("events");
  const begun = await probe("emit", { gate: `${process.env.SDK_JS_GATES}/events` }, {}, { wait: false });
  const source = await inference.streamTask(begun.id);
  const seen = [];
  const over = new Promise((resolve, reject) => {
    source.onerror = reject;
    source.onmessage = ({ data }) => {
      seen.push(JSON.parse(data));
      if (isTerminalStatus((seen.at(-1).data ?? seen.at(-1)).status)) resolve();
    };
  });
  const writing = await pipe;
  await until(() => seen.length > 0);
  await writing.write("one\n");
  await until(() => seen.some((event) => event.data?.output));
  await writing.close();
  await over;
  source.close();
  assert.equal(seen[0].id, begun.id);
  assert.deepEqual(seen.at(-1).output, { seen: ["one"], done: true });
});
