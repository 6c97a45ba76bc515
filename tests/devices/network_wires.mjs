// The network side of boards that serve their REPL by telnet or WebREPL, for tests: what a board's firmware says before
// and around the REPL. The REPL itself is whatever board.receive() answers.
import { createHash } from "node:crypto";

const prompt = "\r\nType \"help()\" for more information.\r\n>>> ";

// Reads lines of a login; what follows the last is for the board.
class Login {
  constructor(questions, check, say) {
    this.questions = questions;
    this.check = check;
    this.say = say;
    this.answers = [];
    this.line = "";
    say(questions[0]);
  }

  // What of `bytes` is for the board.
  take(bytes) {
    for (let i = 0; i < bytes.length; ++i) {
      if (this.answers.length === this.questions.length) return bytes.subarray(i);
      const c = String.fromCharCode(bytes[i]);
      if (c === "\n") continue;
      if (c !== "\r") {
        this.line += c;
        continue;
      }
      this.answers.push(this.line);
      this.line = "";
      if (this.answers.length < this.questions.length) this.say(this.questions[this.answers.length]);
      else if (!this.check(this.answers)) return null;
    }
    return Buffer.alloc(0);
  }
}

// As the WiPy's: user micro, password python, and a wish to echo.
export function telnetWire(socket, receive) {
  socket.write(Buffer.from([255, 251, 1, 255, 251, 3]));
  const login = new Login(["Login as: ", "Password: "], ([user, password]) => {
    const right = user === "micro" && password === "python";
    socket.write(right ? `\r\nLogin succeeded!${prompt}` : "\r\nInvalid credentials, try again.\r\n");
    return right;
  }, (text) => socket.write(text));
  let skip = 0;
  socket.on("data", (bytes) => {
    const plain = Buffer.from([...bytes].filter((byte) => {  // answers to options are three bytes
      if (skip === 0 && byte === 255) skip = 3;
      return skip === 0 || skip-- < 0;
    }));
    const rest = login.take(plain);
    if (rest !== null) receive(rest, (said) => socket.write(said));
  });
}

function frame(opcode, payload) {
  const head = payload.length < 126 ? [0x80 | opcode, payload.length]
    : [0x80 | opcode, 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from(head), payload]);
}

// As MicroPython's WebREPL with the password "secret".
export function webreplWire(socket, receive) {
  let input = Buffer.alloc(0);
  let login = null;
  const say = (text) => {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 60000) socket.write(frame(1, bytes.subarray(at, at + 60000)));
  };
  const open = () => {
    const end = input.indexOf("\r\n\r\n");
    if (end < 0) return;
    const key = /sec-websocket-key: *(\S+)/i.exec(input.toString("latin1"))[1];
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
                 `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    input = input.subarray(end + 4);
    socket.write(frame(9, Buffer.from("ping")));
    login = new Login(["Password: "], ([password]) => {
      const right = password === "secret";
      say(right ? "\r\nWebREPL connected\r\n>>> " : "\r\nAccess denied\r\n");
      return right;
    }, say);
  };
  socket.on("data", (bytes) => {
    input = Buffer.concat([input, bytes]);
    if (login === null) open();
    while (login !== null && input.length >= 6) {
      const long = (input[1] & 127) === 126;
      const start = long ? 8 : 6;
      const size = long ? input.readUInt16BE(2) : input[1] & 127;
      if (input.length < start + size) return;
      const mask = input.subarray(start - 4, start);
      const payload = Buffer.from(input.subarray(start, start + size).map((byte, i) => byte ^ mask[i % 4]));
      const opcode = input[0] & 15;
      input = input.subarray(start + size);
      const rest = opcode === 1 ? login.take(payload) : null;
      if (rest !== null) receive(rest, say);
    }
  });
}
