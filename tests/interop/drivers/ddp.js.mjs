// npm "ddp.js": messages as events, and no more.
import DDP from "ddp.js";
import WebSocket from "ws";
import { added, changed, clear, removed } from "./kept.mjs";

export { documents } from "./kept.mjs";

let client;
let count = 0;

export const connections = () => count;

export function connect({ websocket }) {
  client = new DDP.default({ endpoint: websocket, SocketConstructor: WebSocket, reconnectInterval: 200 });
  client.on("added", added);
  client.on("changed", changed);
  client.on("removed", removed);
  return new Promise((resolve) => {
    client.on("connected", () => {
      clear();
      count++;
      resolve();
    });
  });
}

// The first event of these for which matches(event) holds.
function first(names, matches) {
  return new Promise((resolve) => {
    const listeners = names.map((name) => [name, (event) => matches(event) && done(event)]);
    function done(event) {
      for (const [name, listener] of listeners) client.removeListener(name, listener);
      resolve(event);
    }
    for (const [name, listener] of listeners) client.on(name, listener);
  });
}

export async function subscribe(name, ...params) {
  const id = client.sub(name, params);
  const { error } = await first(["ready", "nosub"], (event) => event.id === id || event.subs?.includes(id));
  if (error) throw error;
}

export async function call(name, ...params) {
  const id = client.method(name, params);
  const { error, result } = await first(["result"], (event) => event.id === id);
  if (error) throw error;
  return result;
}
