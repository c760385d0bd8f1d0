// Echo servers with the ws package: node server.js [PEM], the certificate and key to serve wss with.
// What each wants of permessage-deflate comes on standard input, by its name.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { text } from "node:stream/consumers";
import { WebSocketServer } from "ws";
import { Connection, announce, perMessageDeflate } from "./common.js";

const SUBPROTOCOL = "echo.trio-ws";

async function obey(connection, verb, ...args) {
  if (verb === "close") {
    await connection.close(args.length > 0 ? Number(args[0]) : null, args[1]);
  } else if (verb === "abort") {
    await connection.abort();
  } else if (verb === "ping") {
    await connection.ping(args[0]);
    connection.websocket.send(`ponged:${args[0]}`);
  } else if (verb === "fragments") {
    const [kind, unit, count, fragments] = args;
    await connection.send({ kind, unit, count: Number(count), fragments: Number(fragments) });
  } else if (verb === "burst") {
    for (let number = 0; number < Number(args[0]); number++) {
      connection.websocket.send(String(number));
    }
  } else if (verb === "plain") {
    const [kind, unit, count] = args;
    await connection.send({ kind, unit, count: Number(count), compress: false });
  } else if (verb === "bytes") {
    await connection.send({ kind: "binary", count: Number(args[0]) });
  } else {
    throw new Error(`unknown command ${verb}`);
  }
}

async function serve(websocket, request) {
  const connection = new Connection(websocket);
  for (;;) {
    const message = await connection.receive();
    if (message === null) break;
    if (typeof message === "string" && message.startsWith("!")) {
      await obey(connection, ...message.slice(1).split(":"));
    } else {
      websocket.send(message);
    }
  }
  const run = new URL(request.url, "ws://host").searchParams.get("run");
  announce({ run, closed: connection.end, ...connection.agreed });
}

const pem = process.argv[2] === undefined ? undefined : readFileSync(process.argv[2]);

async function listen(deflate) {
  const server = pem ? https.createServer({ cert: pem, key: pem }) : http.createServer();
  const websockets = new WebSocketServer({
    server,
    perMessageDeflate: perMessageDeflate(deflate),
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    verifyClient: ({ req }, done) => done(!req.url.startsWith("/reject"), 403, "no\n"),
  });
  websockets.on("connection", serve);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return server.address().port;
}

const ports = {};
for (const [name, deflate] of Object.entries(JSON.parse(await text(process.stdin)))) {
  ports[name] = await listen(deflate);
}
announce({ ports });
