// Files as the official SDK uploads them: by itself out of an input, or when it is asked to.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { inference, key, rejection, test, url } from "./server.mjs";

const echo = async (input) => (await inference.run({ app: "tests/probe", function: "echo", input, session: "new" })).output;

/** What the app can read where the input had a file. */
async function bytesOf(file) {
  assert.deepEqual(Object.keys(file).sort(), ["content_type", "filename", "path", "size", "uri"]);
  const bytes = await readFile(file.path);
  assert.equal(bytes.length, file.size);
  return bytes;
}

test("data: URIs in an input reach the app as files, whatever they are encoded in", async () => {
  const png = Buffer.from("89504e470d0a1a0a00ff", "hex");
  const seen = await echo({
    image: `data:image/png;base64,${png.toString("base64")}`,
    more: [{ text: "data:text/plain,Hello%20%E2%98%83" }, "data:;base64,_-8"],
    name: "not a file",
  });
  assert.deepEqual(await bytesOf(seen.image), png);
  assert.equal(seen.image.content_type, "image/png");
  assert.equal((await bytesOf(seen.more[0].text)).toString(), "Hello \u2603");
  assert.deepEqual([...(await bytesOf(seen.more[1]))], [0xff, 0xef]);
  assert.equal(seen.name, "not a file");
});

test("base64 of 64 characters and more reaches the app as a file, and shorter text as it stands", async () => {
  const bytes = Buffer.alloc(48, 0xfb);
  assert.equal(bytes.toString("base64").length, 64);
  const short = bytes.subarray(0, 45).toString("base64");
  const seen = await echo({ long: bytes.toString("base64"), short });
  assert.deepEqual(await bytesOf(seen.long), bytes);
  assert.equal(seen.long.content_type, "application/octet-stream");
  assert.equal(seen.short, short);
});

test("a Blob in an input reaches the app as a file", async () => {
  const seen = await echo({ cat: new Blob(["meow"], { type: "text/plain" }) });
  assert.equal((await bytesOf(seen.cat)).toString(), "meow");
  assert.equal(seen.cat.content_type, "text/plain");
});

test("a file that was uploaded can be used in many calls, described and fetched", async () => {
  const file = await inference.uploadFile(new Blob(["meow"]), { filename: "cat.txt", contentType: "text/plain" });
  for (let n = 0; n < 2; ++n) assert.equal((await bytesOf((await echo({ cat: file.uri })).cat)).toString(), "meow");
  const { data: told } = await inference.files.get(file.id);
  assert.deepEqual([told.id, told.uri, told.filename, told.size], [file.id, file.uri, "cat.txt", 4]);
  assert.equal(told.content_type, "text/plain");
  const fetched = await fetch(told.uri, { headers: { Authorization: `Bearer ${key}` } });
  assert.equal(fetched.headers.get("content-type"), "text/plain");
  assert.equal(await fetched.text(), "meow");
  assert.ok(told.uri.startsWith(url));
});

test("a file that was deleted is not there any more", async () => {
  const file = await inference.uploadFile("data:text/plain,meow");
  await inference.files.delete(file.id);
  assert.equal((await rejection(inference.files.get(file.id))).statusCode, 404);
  const error = await rejection(echo({ cat: file.uri }));
  assert.equal(error.statusCode, 404);
});
