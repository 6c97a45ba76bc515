// Sessions as the official SDK sees them.
import assert from "node:assert/strict";

import { isInferenceError, isSessionError } from "@inferencesh/sdk";

import { client, inference, rejection, sessionTest, test, until, url } from "./server.mjs";

/** That a request is refused the only way the SDK's HTTP layer knows, in words that callers look for. */
async function refused(promise, status, code, words) {
  const error = await rejection(promise);
  assert.ok(isInferenceError(error), String(error));
  assert.equal(error.statusCode, status);
  assert.match(error.message, words);
  const body = JSON.parse(error.responseBody);
  assert.equal(body.code, code);
  assert.equal(body.error.code, code);
  return error;
}

test("a session keeps its worker's memory over calls", async () => {
  const first = await sessionTest("set_value", { key: "a", value: { n: [1, null, "ü"] } });
  assert.equal(first.status, 10);
  assert.notEqual(first.session_id, "new");
  const second = await sessionTest("get_value", { key: "a" }, { session: first.session_id });
  assert.deepEqual(second.output, { found: true, key: "a", value: { n: [1, null, "ü"] } });
  assert.equal(second.session_id, first.session_id);
  const other = await sessionTest("get_value", { key: "a" });
  assert.equal(other.output.found, false);
});

test("calls of one session run in order, whoever is asked first", async () => {
  const { session_id: session } = await sessionTest("get_all", {});
  const calls = Array.from({ length: 20 }, () => sessionTest("increment", { key: "n" }, { session }));
  const seen = (await Promise.all(calls)).map((task) => task.output.current);
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n + 1));
});

test("get, list, keepalive and end", async () => {
  const task = await sessionTest("get_all", {}, { session_timeout: 120 });
  const id = task.session_id;
  const { data: session } = await inference.sessions.get(id);
  assert.equal(session.id, id);
  assert.deepEqual([session.status, session.call_count, session.idle_timeout], ["active", 1, 120]);
  assert.ok((await inference.sessions.list()).data.some((each) => each.id === id));
  const { data: kept } = await inference.sessions.keepalive(id);
  assert.ok(Date.parse(kept.expires_at) >= Date.parse(session.expires_at));
  assert.equal(kept.call_count, 1);
  await inference.sessions.end(id);
  const { data: ended } = await inference.sessions.get(id);
  assert.equal(ended.status, "ended");
  assert.ok(Date.parse(ended.ended_at) > 0);
});

test("a session that is over is 410, and the SDK tells it by status and words only", async () => {
  const { session_id: session } = await sessionTest("get_all", {});
  await inference.sessions.end(session);
  const ended = await refused(sessionTest("get_all", {}, { session }), 410, "SESSION_ENDED", /session ended/i);
  assert.equal(isSessionError(ended), false);
  await refused(inference.sessions.keepalive(session), 410, "SESSION_ENDED", /session ended/i);
  await refused(inference.sessions.end(session), 410, "SESSION_ENDED", /session ended/i);

  const { session_id: short } = await sessionTest("get_all", {}, { session_timeout: 1 });
  await until(async () => (await inference.sessions.get(short)).data.status === "expired");
  const late = sessionTest("get_all", {}, { session: short });
  await refused(late, 410, "SESSION_EXPIRED", /session expired.*session not found/i);
});

test("an unknown session is 404", async () => {
  const session = "sess_20200101_000000_000000";
  await refused(sessionTest("get_all", {}, { session }), 404, "SESSION_NOT_FOUND", /session not found/i);
  await refused(inference.sessions.get(session), 404, "SESSION_NOT_FOUND", /session not found/i);
  await refused(inference.sessions.keepalive(session), 404, "SESSION_NOT_FOUND", /session not found/i);
  await refused(inference.sessions.end(session), 404, "SESSION_NOT_FOUND", /session not found/i);
});

test("what cannot be run is refused", async () => {
  const { session_id: session } = await sessionTest("get_all", {});
  const other = inference.run({ app: "counter", input: { key: "a" }, session });
  await refused(other, 400, "APP_MISMATCH", /session-test/);
  await refused(inference.run({ app: "nobody", input: {} }), 404, "app_not_found", /nobody/);
  await refused(sessionTest("fly", {}), 404, "function_not_found", /fly/);
  for (const session_timeout of [0, 3601, "60"]) {
    await refused(sessionTest("get_all", {}, { session_timeout }), 400, "invalid_request", /session_timeout/);
  }
});

test("a wrong key is 401", async () => {
  const stranger = client({ apiKey: "inf_wrong" });
  await refused(stranger.sessions.list(), 401, "unauthorized", /key/);
  const stream = await rejection(stranger.tasks.watch({ id: "task_x", status: 7 }).done);
  assert.match(stream.message, /^HTTP 401: /);
});

test("a caller of the older wire gets the bare session", async () => {
  const { session_id: session } = await sessionTest("get_all", {});
  const older = client({ headers: { "X-API-Version": "2" } });
  assert.equal((await older.sessions.get(session)).data.id, session);
  const answer = await fetch(`${url}/sessions/${session}`, {
    headers: { "X-API-Version": "2", Authorization: `Bearer ${process.env.SDK_JS_KEY}` },
  });
  assert.equal((await answer.json()).id, session);
  assert.equal((await older.run({ app: "session-test", input: {}, session })).session_id, session);
});

test("a table is loaded once and analysed many times", async () => {
  const run = (input, session) => inference.run({ app: "data-processor", input, session });
  const { session_id: session } = await run({ action: "load", dataset: "weather" }, "new");
  for (const type of ["summary", "correlations", "outliers", "trends"]) {
    assert.equal((await run({ action: "analyze", type }, session)).output.type, type);
  }
  const error = await rejection(run({ action: "analyze", type: "magic" }, session));
  assert.match(error.message, /unknown type 'magic'/);
  assert.equal((await inference.sessions.get(session)).data.status, "active");
});
