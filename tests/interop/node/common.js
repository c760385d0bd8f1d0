// What server.js and client.js share: messages, fingerprints, and a WebSocket of the ws package
// whose events can be awaited. The grammar of commands and cases is described in ../cases.py.

import { createHash } from "node:crypto";

const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, index) => index));
const BETWEEN = "between fragments";

export function announce(fact) {
  process.stdout.write(JSON.stringify(fact) + "\n");
}

export function messageData({ kind, unit, count }) {
  if (kind === "text") return unit.repeat(count);
  return unit === "noise" ? noise(count) : Buffer.alloc(count, PATTERN);
}

function noise(count) {
  const data = Buffer.alloc(count);
  let state = 1;
  for (let index = 0; index < count; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[index] = state >>> 24;
  }
  return data;
}

// The option of the ws package for what an end wants of permessage-deflate; null is nothing.
export function perMessageDeflate(deflate) {
  if (deflate === null) return false;
  const options = {};
  for (const [name, value] of Object.entries(deflate)) {
    const camel = name.replace(/_./g, (match) => match[1].toUpperCase());
    if (value !== null && value !== false) {
      options[camel] = value;
    }
  }
  return options;
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
    this.agreed = { subprotocol: websocket.protocol || null, extensions: websocket.extensions };
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
      // Not given, `compress` is what the connection does; undefined is false.
      const given = typeof message.compress === "boolean";
      this.websocket.send(data, given ? { compress: message.compress } : {});
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
