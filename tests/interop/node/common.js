// What server.js and client.js share: messages, fingerprints, and a WebSocket of the ws package
// whose events can be awaited. The grammar of commands and cases is described in ../cases.py.

import { createHash } from "node:crypto";

const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, index) => index));
const BETWEEN = "between fragments";

export function announce(fact) {
  process.stdout.write(JSON.stringify(fact) + "\n");
}

export function messageData({ kind, unit, count }) {
  return kind === "text" ? unit.repeat(count) : Buffer.alloc(count, PATTERN);
}

export function fingerprint(data) {
  const payload = Buffer.from(data);
  const digest = createHash("sha256").update(payload).digest("hex");
  return [typeof data === "string" ? "text" : "binary", payload.length, digest];
}

export class Connection {
  constructor(websocket) {
    this.websocket = websocket;
    this.received = [];
    this.pongs = new Set();
    this.end = null; // code and reason once the connection is closed
    this.wake = () => {};
    websocket.on("message", (data, isBinary) => {
      this.received.push(isBinary ? data : data.toString());
      this.wake();
    });
    websocket.on("pong", (data) => {
      this.pongs.add(data.toString());
      this.wake();
    });
    websocket.on("close", (code, reason) => {
      this.end = [code, reason.toString()];
      this.wake();
    });
    websocket.on("error", () => {}); // a "close" event follows
  }

  async until(condition) {
    while (!condition() && this.end === null) {
      await new Promise((resolve) => (this.wake = resolve));
    }
  }

  async receive() {
    await this.until(() => this.received.length > 0);
    return this.received.length > 0 ? this.received.shift() : null;
  }

  async send(message) {
    const data = messageData(message);
    if (!message.fragments) {
      this.websocket.send(data);
      return;
    }
    const payload = Buffer.from(data);
    const size = Math.floor(payload.length / message.fragments);
    for (let index = 0; index < message.fragments; index++) {
      const fin = index === message.fragments - 1;
      const piece = payload.subarray(index * size, fin ? undefined : (index + 1) * size);
      this.websocket.send(piece, { binary: message.kind === "binary", fin });
      if (index === 0) await this.ping(BETWEEN);
    }
  }

  async ping(payload) {
    this.websocket.ping(payload);
    await this.until(() => this.pongs.has(payload));
  }

  async close(code, reason) {
    if (code === null) this.websocket.close();
    else this.websocket.close(code, reason);
    await this.until(() => false);
  }

  async abort() {
    this.websocket.terminate();
    await this.until(() => false);
  }
}
