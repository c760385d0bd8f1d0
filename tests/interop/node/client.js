// Client with the ws package: node client.js PREFIX [CA] plays the cases of standard input.

import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import WebSocket from "ws";
import { Connection, announce, fingerprint, perMessageDeflate } from "./common.js";

const [prefix, ca] = process.argv.slice(2);

function connect(test) {
  const separator = test.path.includes("?") ? "&" : "?";
  const url = `${test.base}${test.path}${separator}run=${prefix}${test.id}`;
  const origin = test.origin === "same" ? test.base.replace("ws", "http") : test.origin;
  return new WebSocket(url, test.offer, {
    ca: ca && readFileSync(ca),
    perMessageDeflate: perMessageDeflate(test.deflate),
    ...(origin ? { origin } : {}),
  });
}

async function play(websocket, test) {
  const connection = new Connection(websocket);
  if (test.ping !== null) await connection.ping(test.ping);
  if (test.pong !== null) websocket.pong(test.pong);
  for (const message of test.send) await connection.send(message);
  const received = [];
  for (let count = 0; count < test.receive.length; count++) {
    const data = await connection.receive();
    if (data === null) break;
    received.push(fingerprint(data));
  }
  if (test.closer === "server" || test.how === "limit") {
    const data = await connection.receive();
    if (data !== null) received.push(fingerprint(data));
  } else if (test.how === "abort") {
    await connection.abort();
  } else {
    await connection.close(test.code, test.reason);
  }
  return { case: test.id, status: 101, received, closed: connection.end, ...connection.agreed };
}

async function run(test) {
  const websocket = connect(test);
  return await new Promise((resolve, reject) => {
    websocket.on("open", () => play(websocket, test).then(resolve, reject));
    websocket.on("error", reject);
    websocket.on("unexpected-response", (request, response) => {
      request.destroy();
      resolve({ case: test.id, status: response.statusCode });
    });
  });
}

for (const test of JSON.parse(await text(process.stdin))) {
  announce(await run(test).catch((error) => ({ case: test.id, error: String(error) })));
}
