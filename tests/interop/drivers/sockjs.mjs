// npm "sockjs-client", in a page or in Node. It carries texts only: this is the least of a DDP client on top.
import { added, changed, clear, documents, removed } from "./kept.mjs";

export { documents };

const RETRY = 200; // ms
const handlers = { added, changed, removed, connected, ready, nosub, result, ping };

let SockJS;
let address;
let socket;
let count = 0;
let ids = 0;
const waiting = new Map(); // id, or "connected" -> { resolve, reject }

export const connections = () => count;
export const transport = () => socket.transport;

export async function connect({ http, transport }) {
  SockJS = await library();
  address = [`${http}/sockjs`, null, { transports: [transport] }];
  const opened = expect("connected");
  open();
  await opened;
}

async function library() {
  if (!globalThis.document) return (await import("sockjs-client")).default;
  await import("/static/modules/sockjs-client/dist/sockjs.js"); // not a module: it leaves a global
  return globalThis.SockJS;
}

function open() {
  socket = new SockJS(...address);
  socket.onopen = () => send({ msg: "connect", version: "1", support: ["1"] });
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = () => setTimeout(open, RETRY);
}

const send = (message) => socket.send(JSON.stringify(message));
const receive = (message) => handlers[message.msg]?.(message);
const expect = (id) => new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));

function settle(id, error, value) {
  const { resolve, reject } = waiting.get(id) ?? {};
  waiting.delete(id);
  if (error) reject?.(error);
  else resolve?.(value);
}

function connected() {
  clear();
  count++;
  settle("connected");
}

function ready({ subs }) {
  for (const id of subs) settle(id);
}

function nosub({ id, error }) {
  settle(id, error);
}

function result({ id, error, result: value }) {
  settle(id, error, value);
}

function ping({ id }) {
  send(id === undefined ? { msg: "pong" } : { msg: "pong", id });
}

export function subscribe(name, ...params) {
  const id = String(++ids);
  send({ msg: "sub", id, name, params });
  return expect(id);
}

export function call(method, ...params) {
  const id = String(++ids);
  send({ msg: "method", id, method, params });
  return expect(id);
}
