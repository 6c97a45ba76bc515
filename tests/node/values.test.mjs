import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";
import vm from "node:vm";

import { refusalOf, textOf } from "../../sdk/node/lib/values.js";

const shared = JSON.parse(fs.readFileSync(new URL("../../sdk/strict_values.json", import.meta.url)));

function nested(levels) {
  let value = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

function looped() {
  const value = { a: [1] };
  value.a.push(value);
  return value;
}

const valueOf = (code) => new Function("nested", "looped", `return ${code}`)(nested, looped);

test("what every SDK refuses is refused, at the same place", () => {
  for (const { pointer, node } of shared.refused) assert.equal(refusalOf(valueOf(node))?.pointer, pointer, node);
});

test("what every SDK takes becomes the same text", () => {
  for (const { text, node } of shared.taken) {
    const value = valueOf(node);
    assert.equal(refusalOf(value), null, node);
    assert.equal(textOf(value), text);
  }
});

test("what only JavaScript has is refused with words that help", () => {
  class Money {}
  const cases = [
    [{ a: undefined }, "/a", "is undefined; use null, or leave the key out"],
    [[1, , 2], "/1", "is undefined"], // eslint-disable-line no-sparse-arrays
    [{ a: 1n }, "/a", "is a BigInt; use Number() or String()"],
    [[() => 1], "/0", "is a function"],
    [Symbol("s"), "", "is a symbol"],
    [{ [Symbol("s")]: 1 }, "/Symbol(s)", "is a key of type symbol"],
    [{ at: new Date(0) }, "/at", "is of type Date; use .toISOString()"],
    [new Map(), "", "is of type Map; use Object.fromEntries()"],
    [[new Set()], "/0", "is of type Set; use a sorted array"],
    [Buffer.from("x"), "", "is of type Buffer; decode it, or use base64 text"],
    [new Float32Array(1), "", "is of type Float32Array; use Array.from()"],
    [new Money(), "", "is of type Money; use a plain object or array"],
    [new Error("x"), "", "is of type Error"],
    [Promise.resolve(), "", "is of type Promise; await it"],
    [(function* () {})(), "", "is of type Generator; use an array"],
    [new String("x"), "", "is of type String"],
    [{ toJSON: () => 1 }, "/toJSON", "is a function"],
    [1e20, "", "is an integer past 64 bits; use text"],
    [-(2 ** 63) - 2048, "", "is an integer past 64 bits"],
    [{ a: { b: "x\udc00y" } }, "/a/b", "holds a lone surrogate"],
  ];
  for (const [value, pointer, words] of cases) {
    const refusal = refusalOf(value);
    assert.equal(refusal?.pointer, pointer, words);
    assert.ok(refusal.reason.startsWith(words), refusal.reason);
  }
  assert.equal(refusalOf(looped()).reason, "contains itself");
  assert.equal(refusalOf(nested(65)).reason, "is nested deeper than 64 levels");
});

test("numbers at the edges are taken", () => {
  for (const number of [0, -0, 5e-324, 1.7976931348623157e308, 1e21, -1e21, 2 ** 63, -(2 ** 63), 2 ** 64 - 2048]) {
    assert.equal(refusalOf(number), null, String(number));
    assert.equal(JSON.parse(textOf(number)) + 0, number + 0);
  }
});

test("objects without a prototype are plain, objects of another realm are not", () => {
  assert.equal(refusalOf(Object.assign(Object.create(null), { a: 1 })), null);
  assert.equal(refusalOf(vm.runInNewContext("({a: 1})")).pointer, "");
});
