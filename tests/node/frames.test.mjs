import assert from "node:assert/strict";
import test from "node:test";

import { FrameReader, Violation, encode } from "../../sdk/node/lib/connection.js";

const frames = [
  { type: "a" },
  { type: "b", text: "ü\u2028😀\ufffd" },
  { type: "c", long: "x".repeat(200_000) },
  { type: "d", long: "é".repeat(70_000) },
  { type: "e" },
];
const bytes = Buffer.concat(frames.map((frame) => Buffer.from(encode(JSON.stringify(frame)))));

function read(reader, pieces) {
  const read = [];
  const shared = Buffer.alloc(bytes.length); // as the socket's own buffer: written over with each piece
  for (const piece of pieces) {
    piece.copy(shared);
    reader.push(shared, piece.length);
    for (let frame = reader.next(); frame; frame = reader.next()) read.push(frame);
    reader.keep();
  }
  return read;
}

test("frames are cut out of pieces of any size", () => {
  for (const size of [1, 2, 3, 5, 7, 1000, 65_536, bytes.length]) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    assert.deepEqual(read(new FrameReader(), pieces), frames);
  }
});

test("pieces of random sizes give the same frames", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  let state = seed;
  const random = (most) => (state = (state * 48271) % 2147483647) % most;
  for (let round = 0; round < 50; round += 1) {
    const pieces = [];
    for (let at = 0; at < bytes.length;) {
      const size = 1 + random(random(2) ? 100_000 : 50);
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    assert.deepEqual(read(new FrameReader(), pieces), frames, `SEED=${seed}`);
  }
});

test("frames that arrive while another is handled come after it", () => {
  const reader = new FrameReader();
  const first = Buffer.concat([bytes.subarray(0, 20)]);
  reader.push(first, first.length);
  const seen = [reader.next()];
  const rest = Buffer.from(bytes.subarray(20));
  reader.push(rest, rest.length); // a poll in the middle
  for (let frame = reader.next(); frame; frame = reader.next()) seen.push(frame);
  assert.deepEqual(seen, frames);
});

test("what is no frame is a violation", () => {
  for (const [data, words] of [
    [[0, 0, 0, 0], "a frame of 0 bytes"],
    [[0x7f, 0xff, 0xff, 0xff], "a frame of 2147483647 bytes"],
    [[0, 0, 0, 2, ...Buffer.from("{]")], "no strict JSON"],
    [[0, 0, 0, 2, ...Buffer.from("[]")], 'no object with a "type"'],
    [[0, 0, 0, 4, ...Buffer.from("null")], 'no object with a "type"'],
    [[0, 0, 0, 14, ...Buffer.from('{"type":"'), 0xff, 0xff, 0xff, ...Buffer.from('"}')], "no UTF-8"],
  ]) {
    const reader = new FrameReader();
    reader.push(Buffer.from(data), data.length);
    assert.throws(
      () => reader.next(),
      (error) => error instanceof Violation && error.message.includes(words),
      words,
    );
  }
});

test("a frame of exactly the limit is taken, a longer one is not", () => {
  const text = JSON.stringify({ type: "x", a: "y".repeat(30) });
  const frame = Buffer.from(encode(text));
  const taker = new FrameReader(text.length);
  taker.push(frame, frame.length);
  assert.equal(taker.next().type, "x");
  const refuser = new FrameReader(text.length - 1);
  refuser.push(frame, frame.length);
  assert.throws(() => refuser.next(), Violation);
});
