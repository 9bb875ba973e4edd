// npm "simpleddp", with "simpleddp-plugin-login".
import SimpleDDP from "simpleddp";
import { simpleDDPLogin } from "simpleddp-plugin-login";
import WebSocket from "ws";

let client;
let count = 0;

export const connections = () => count;
export const documents = () => client.collection("notes").fetch();

export function connect({ websocket }) {
  const options = { endpoint: websocket, SocketConstructor: WebSocket, reconnectInterval: 200 };
  client = new SimpleDDP(options, [simpleDDPLogin]);
  client.on("connected", () => count++);
  return client.connect();
}

export const subscribe = (name, ...params) => client.subscribe(name, ...params).ready();
export const call = (name, ...params) => client.call(name, ...params);
export const login = (username, password) => client.login({ user: { username }, password });
