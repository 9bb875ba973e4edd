// Our own ddp.js, in a page.
import { connect as open } from "/static/dddp/ddp.js";

let client;
let count = 0;

export const connections = () => count;
export const documents = () => client.collection("notes").find();

export function connect({ websocket }) {
  client = open(websocket, { retryDelay: 200, maxRetryDelay: 400 });
  return new Promise((resolve) => {
    client.on("status", ({ state }) => {
      if (state !== "connected") return;
      count++;
      resolve();
    });
  });
}

export const subscribe = (name, ...params) => client.subscribe(name, ...params).onStop(() => {}).ready;
export const call = (name, ...params) => client.call(name, ...params);
