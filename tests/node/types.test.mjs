// The declarations name what there is.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import * as index from "../../sdk/node/index.js";
import { Log } from "../../sdk/node/lib/log.js";
import { Resources } from "../../sdk/node/lib/resources.js";
import { Session } from "../../sdk/node/lib/session.js";
import { State } from "../../sdk/node/lib/state.js";
import * as testing from "../../sdk/node/testing.js";

const read = (name) => fs.readFileSync(new URL(`../../sdk/node/${name}`, import.meta.url), "utf8");

const valuesOf = (text) =>
  [...text.matchAll(/^export (?:const|function|class) (\w+)/gm)].map(([, name]) => name).sort();

function membersOf(text, name) {
  const [, body] = new RegExp(`^export (?:interface|class) ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, "m").exec(text);
  const names = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[<(:?]/gm)].map(([, member]) => member);
  return [...new Set(names)].filter((member) => member !== "constructor").sort();
}

function thereIn(object) {
  const names = [...Object.keys(object), ...Object.getOwnPropertyNames(Object.getPrototypeOf(object))];
  return names.filter((name) => name !== "constructor").sort();
}

test("each export is declared, and nothing else", () => {
  assert.deepEqual(valuesOf(read("index.d.ts")), Object.keys(index).sort());
  assert.deepEqual(valuesOf(read("testing.d.ts")), Object.keys(testing).sort());
});

test("each member is declared, and nothing else", () => {
  const text = read("index.d.ts");
  const link = { send() {}, poll() {}, call: null, closing: new AbortController() };
  const session = new Session({ session: "s" }, link);
  for (const [name, object] of Object.entries({ Session: session, State: new State(), Log: new Log(() => {}) })) {
    assert.deepEqual(membersOf(text, name), thereIn(object), name);
  }
  assert.deepEqual(membersOf(text, "Resources"), thereIn(new Resources(link)));
  assert.deepEqual(membersOf(text, "App"), Object.keys(new index.App()));
  const own = Object.getOwnPropertyNames(testing.Worker.prototype).filter((name) => name !== "constructor");
  const fields = ["state", "folder", "process", "exited"];
  assert.deepEqual(membersOf(read("testing.d.ts"), "Worker"), [...own, ...fields].sort());
});

test("the version is the package's", () => {
  assert.equal(index.version, JSON.parse(read("package.json")).version);
});
