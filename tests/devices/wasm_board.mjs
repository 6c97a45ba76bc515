// A board without hardware: MicroPython's WebAssembly port, its REPL on TCP or on standard input and output.
//
//   node wasm_board.mjs PACKAGES [--paste | --stuck-paste]   the REPL on standard input and output
//   node wasm_board.mjs PACKAGES --listen [--paste]  on a free port of 127.0.0.1, which is the first line printed;
//                                                    with --telnet or --webrepl as boards on a network serve it
//
// PACKAGES is the folder that holds node_modules. Like a board, it has one REPL however often a client comes and goes. Code
// runs inside this one thread, so nothing that arrives meanwhile is seen: a loop without end can only be killed.
//
// With --paste it does raw paste with a window of 128 bytes; without, it answers that it knows it and has it not. (The
// port's own raw paste waits for its input by reading again and again inside this thread, and so never gets any: with
// --stuck-paste that is what happens.)
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { telnetWire, webreplWire } from "./network_wires.mjs";

const [packages, ...options] = process.argv.slice(2);
const hasPaste = options.includes("--paste");
const stuckPaste = options.includes("--stuck-paste");
const module = createRequire(resolve(packages, "package.json")).resolve(
  "@micropython/micropython-webassembly-pyscript/micropython.mjs");
const { loadMicroPython } = await import(pathToFileURL(module));

const ctrlA = 0x01, ctrlC = 0x03, ctrlD = 0x04, ctrlE = 0x05;
const window = 128;

class Board {
  #python;
  #said = [];       // bytes not yet sent to the client
  #line = [];       // of raw mode since the last Ctrl-D, as far as it matters: to see an empty one and Ctrl-E
  #raw = false;
  #paste = null;    // the code so far, in raw paste
  #credit = 0;

  async start() {
    this.#python = await loadMicroPython({
      heapsize: 256 * 1024,
      linebuffer: false,
      stdout: (bytes) => this.#said.push(...bytes),
    });
    this.#python.replInit();
  }

  // What the board answers to `bytes`.
  async receive(bytes) {
    for (const byte of bytes) {
      if (this.#paste !== null) this.#receivePaste(byte);
      else await this.#receiveByte(byte);
    }
    const said = Buffer.from(this.#said);
    this.#said = [];
    return said;
  }

  async #receiveByte(byte) {
    const last = this.#line.slice(-2);
    if (this.#raw && last.length === 2 && last[0] === ctrlE && last[1] === 0x41 && byte === ctrlA) {
      while (stuckPaste);
      this.#python.replProcessChar(ctrlC);  // takes the "A" back out of its line
      this.#line = [];
      this.#said.push(0x52, hasPaste ? 0x01 : 0x00);
      if (hasPaste) {
        this.#said.push(window, 0, 0x01);
        this.#paste = [];
        this.#credit = window;
      } else {
        this.#said.push(0x3e);
      }
      return;
    }
    if (this.#raw && byte === ctrlE) {
      this.#line = [ctrlE];  // kept from the port, whose own raw paste would never return
      return;
    }
    if (byte === ctrlA) this.#raw = true;
    if (byte === 0x02) this.#raw = false;
    this.#line = byte === ctrlC || byte === ctrlD ? [] : [...last, byte];
    if (this.#python.replProcessChar(byte) !== 0) await this.#reboot();
  }

  #receivePaste(byte) {
    if (byte === ctrlC || byte === ctrlD) {
      const code = byte === ctrlD ? this.#paste : Buffer.from("raise KeyboardInterrupt");
      this.#paste = null;
      this.#said.push(ctrlD);
      const before = this.#said.length;
      for (const each of code) this.#python.replProcessChar(each);
      if (code.length === 0) this.#python.replProcessChar(0x0a);
      this.#python.replProcessChar(ctrlD);
      this.#said.splice(before, 2);  // the "OK" of plain raw mode
      return;
    }
    this.#paste.push(byte);
    if (--this.#credit % window === 0) {
      this.#credit += window;
      this.#said.push(0x01);
    }
  }

  async #reboot() {
    const wasRaw = this.#raw;
    this.#said.push(...Buffer.from("MPY: soft reboot\r\n"));
    await this.start();
    if (wasRaw) this.#python.replProcessChar(ctrlA);
  }
}

const board = new Board();
await board.start();

let turn = Promise.resolve();  // one input after the other
function receive(bytes, write) {
  turn = turn.then(async () => {
    const said = await board.receive(bytes);
    if (said.length > 0) write(said);
  });
}

if (options.includes("--listen")) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    if (options.includes("--telnet")) telnetWire(socket, receive);
    else if (options.includes("--webrepl")) webreplWire(socket, receive);
    else socket.on("data", (bytes) => receive(bytes, (said) => socket.write(said)));
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
} else {
  process.stdin.on("data", (bytes) => receive(bytes, (said) => process.stdout.write(said)));
}
// Whoever started it may die without a word.
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
