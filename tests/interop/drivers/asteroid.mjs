// npm "asteroid".
import { createClass } from "asteroid";
import WebSocket from "ws";
import { added, changed, clear, removed } from "./kept.mjs";

export { documents } from "./kept.mjs";

const Asteroid = createClass();
let client;
let count = 0;

export const connections = () => count;

export function connect({ websocket }) {
  client = new Asteroid({ endpoint: websocket, SocketConstructor: WebSocket, reconnectInterval: 200 });
  client.ddp.on("added", added);
  client.ddp.on("changed", changed);
  client.ddp.on("removed", removed);
  return new Promise((resolve) => {
    client.on("connected", () => {
      clear();
      count++;
      resolve();
    });
  });
}

export function subscribe(name, ...params) {
  const subscription = client.subscribe(name, ...params);
  return new Promise((resolve, reject) => {
    subscription.on("ready", resolve);
    subscription.on("error", reject);
  });
}

export const call = (name, ...params) => client.call(name, ...params);
export const login = (username, password) => client.loginWithPassword({ username, password });
