// Plays the cases of ../cases.py as a page does, and reports the outcomes over a WebSocket.
// The query of the page: client (name), other (a server that is of another origin to this page),
// open (one that accepts every origin).

const query = new URLSearchParams(location.search);
const base = location.origin.replace("http", "ws");

function fail(error) {
  fetch("/error?text=" + encodeURIComponent(String(error)));
}
window.addEventListener("error", (event) => fail(event.message));
window.addEventListener("unhandledrejection", (event) => fail(event.reason));

const report = new WebSocket(base + "/report");
const reporting = new Promise((resolve, reject) => {
  report.onopen = resolve;
  report.onerror = () => reject(new Error("no WebSocket to report by"));
});

function messageData({ kind, unit, count }) {
  if (kind === "text") return unit.repeat(count);
  let state = 1;
  const noise = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return Uint8Array.from({ length: count }, (_, index) => (unit === "noise" ? noise() : index % 251));
}

async function fingerprint(data) {
  const payload = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", payload));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [typeof data === "string" ? "text" : "binary", payload.length, hex];
}

// Resolves once the WebSocket is closed, or with the messages if there are `count` before that.
function connect(url, offer = []) {
  const websocket = new WebSocket(url, offer);
  websocket.binaryType = "arraybuffer";
  const state = { websocket, opened: false, messages: [], end: null, wake: () => {} };
  websocket.onopen = () => { state.opened = true; state.wake(); };
  websocket.onmessage = (event) => { state.messages.push(event.data); state.wake(); };
  websocket.onclose = (event) => { state.end = [event.code, event.reason]; state.wake(); };
  state.until = async (condition) => {
    while (!condition() && state.end === null) await new Promise((wake) => (state.wake = wake));
  };
  return state;
}

async function play(test) {
  const separator = test.path.includes("?") ? "&" : "?";
  const connection = connect(`${test.base}${test.path}${separator}run=${test.id}`, test.offer);
  const { websocket, messages } = connection;
  await connection.until(() => connection.opened);
  if (!connection.opened) return { case: test.id, error: `closed: ${connection.end}` };
  const { extensions, protocol } = websocket;
  const agreed = { extensions, subprotocol: protocol || null };
  for (const message of test.send) websocket.send(messageData(message));
  await connection.until(() => messages.length >= test.receive.length);
  if (test.closer === "client" && test.how === "close") {
    if (test.code === null) websocket.close();
    else websocket.close(test.code, test.reason);
  }
  await connection.until(() => false);
  const received = await Promise.all(messages.map(fingerprint));
  return { case: test.id, status: 101, received, closed: connection.end, ...agreed };
}

// Whether a WebSocket opens; used across origins.
async function opens(url) {
  const connection = connect(url);
  await connection.until(() => connection.opened);
  connection.websocket.close();
  return { opened: connection.opened, closed: connection.end };
}

// The same from a frame; returns the frame as well.
async function frameOpens(url, sandbox) {
  const frame = document.createElement("iframe");
  if (sandbox) frame.sandbox = "allow-scripts"; // an opaque origin: Origin is "null"
  frame.src = "/frame.html?url=" + encodeURIComponent(url);
  const told = new Promise((resolve) => addEventListener("message", resolve, { once: true }));
  document.body.append(frame);
  return { frame, ...(await told).data };
}

async function originCases() {
  const echo = "/echo?run=";
  const localhost = base.replace("127.0.0.1", "localhost");
  const sandboxed = await frameOpens(base + echo + "sandboxed", true);
  const leaving = await frameOpens(base + echo + "page-leaves", false);
  leaving.frame.remove();
  return {
    "same-origin": await opens(base + echo + "same-origin"),
    "other-port": await opens(query.get("other") + echo + "other-port"),
    "other-port-any-origin": await opens(query.get("open") + echo + "any-origin"),
    "other-host": await opens(localhost + echo + "other-host"),
    "sandboxed": { opened: sandboxed.opened },
    "page-leaves": { opened: leaving.opened },
  };
}

await reporting;
const cases = await (await fetch("/cases?client=" + query.get("client"))).json();
const tell = (fact) => report.send(JSON.stringify(fact));
for (const [name, fact] of Object.entries(await originCases())) tell({ case: name, ...fact });
for (const test of cases) tell(await play(test).catch((error) => ({ case: test.id, error: String(error) })));
tell({ done: true });
