// npm "meteor-sdk". Its "main" is TypeScript, which Node 20 does not run; the JavaScript made of it lies beside.
import module from "meteor-sdk/src/DDPClient.js";
import WebSocket from "ws";

let client;
let count = 0;

export const connections = () => count;
export const documents = () => client.collection("notes").fetch();

export function connect({ websocket }) {
  client = new module.default({ endpoint: websocket, SocketConstructor: WebSocket, reconnectInterval: 200 });
  client.on("connected", () => count++);
  return client.connect();
}

export const subscribe = (name, ...params) => client.subscribe(name, ...params).ready();
export const call = (name, ...params) => client.call(name, ...params);
