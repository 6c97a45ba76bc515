import assert from "node:assert/strict";
import test from "node:test";

import { AppError, NotSerializable } from "../../sdk/node/index.js";
import { State, keyBytes, ledger, stateBytes, valueBytes } from "../../sdk/node/lib/state.js";

const changes = (state) => JSON.parse(`{${ledger.changes(state).slice(1)}}`);
const plain = (state) => Object.fromEntries(state);

test("state copies what is set and what is read", () => {
  const state = new State();
  const given = { list: [1] };
  state.set("a", given);
  given.list.push(2);
  state.get("a").list.push(3);
  assert.deepEqual(state.get("a"), { list: [1] });
});

test("state is a collection that may be changed while it is walked", () => {
  const state = new State({ a: 1, b: [2] });
  assert.deepEqual([state.size, state.keys(), state.has("a"), state.has("x")], [2, ["a", "b"], true, false]);
  assert.deepEqual([state.get("x"), state.get("x", 5), state.delete("x")], [undefined, 5, false]);
  for (const [key] of state) state.delete(key);
  assert.deepEqual(plain(state), {});
  for (const name of ["__proto__", "constructor", "toString"]) {
    assert.equal(state.get(name), undefined);
    state.set(name, name);
    assert.equal(state.get(name), name);
  }
});

test("state refuses what JSON cannot hold, names the place and stays as it was", () => {
  const state = new State({ a: 1 });
  assert.throws(
    () => state.set("a", { b: [0, undefined] }),
    (error) =>
      error instanceof TypeError &&
      error instanceof NotSerializable &&
      error.pointer === "/b/1" &&
      error.message === 'state["a"]: /b/1 is undefined; use null, or leave the key out',
  );
  assert.throws(() => state.set("b", undefined), TypeError);
  assert.deepEqual(plain(state), { a: 1 });
  assert.equal(ledger.changes(state), "");
});

test("state refuses bad keys", () => {
  const state = new State();
  for (const key of [1, null, undefined, "\ud800", {}]) assert.throws(() => state.set(key, 1), TypeError);
  assert.throws(() => state.set("", 1), AppError);
  state.set("ü".repeat(keyBytes / 2), 1);
  assert.throws(() => state.set(`${"ü".repeat(keyBytes / 2)}x`, 1), { code: "invalid_request" });
});

test("state refuses what is too large", () => {
  const state = new State();
  state.set("a", "x".repeat(valueBytes - 2));
  for (const text of ["x".repeat(valueBytes - 1), "ü".repeat(valueBytes / 2)]) {
    assert.throws(() => state.set("b", text), { code: "too_large" });
  }
  for (let number = 1; number < stateBytes / valueBytes; number += 1) state.set(String(number), state.get("a"));
  assert.throws(() => state.set("past", "x"), /would take the state past/);
  state.delete("1");
  state.set("past", "x");
  const many = new State();
  for (let number = 0; number < 10_000; number += 1) many.set(String(number), 0);
  assert.throws(() => many.set("past", 0), { code: "too_large" });
  many.set("0", 1);
});

test("state tells only what changed", () => {
  const state = new State({ same: 1, changed: 1, gone: 1 });
  state.set("same", 2).set("same", 1).set("changed", 2).set("new", { ü: null }).set("passing", 1);
  state.delete("passing");
  state.delete("gone");
  assert.deepEqual(changes(state), { state_set: { changed: 2, new: { ü: null } }, state_deleted: ["gone"] });
  ledger.accept(state);
  assert.equal(ledger.changes(state), "");
});

test("state discards to what was accepted", () => {
  const state = new State({ a: 1, b: 2 });
  state.set("a", 5);
  ledger.accept(state);
  state.set("a", 6).set("c", 7).delete("b");
  ledger.discard(state);
  assert.deepEqual(plain(state), { a: 5, b: 2 });
  assert.equal(ledger.changes(state), "");
});

test("state keeps what setup changed until it is committed", () => {
  const state = new State({ old: 1 });
  state.set("a", 1).set("passing", 1);
  ledger.keepUnsent(state);
  state.set("a", 2);
  ledger.discard(state); // a call failed
  state.delete("passing");
  assert.deepEqual(changes(state), { state_set: { a: 1 }, state_deleted: ["passing"] });
  ledger.accept(state);
  assert.equal(ledger.changes(state), "");
});

test("state keeps what changed while a checkpoint was saved", () => {
  const state = new State({});
  state.set("a", 1).set("b", 1);
  const pending = ledger.pending(state);
  state.set("a", 2);
  ledger.accept(state, pending);
  assert.deepEqual(changes(state), { state_set: { a: 2 }, state_deleted: [] });
  ledger.discard(state);
  assert.deepEqual(plain(state), { a: 1, b: 1 });
});

test("state adopts what was changed outside", () => {
  const state = new State({ a: 1, b: 2 });
  ledger.adopt(state, { a: [3], c: 4 }, ["b", "unknown"]);
  assert.deepEqual(plain(state), { a: [3], c: 4 });
  assert.equal(ledger.changes(state), "");
});
