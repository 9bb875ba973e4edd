// npm "ddp".
import DDPClient from "ddp";

let client;
let count = 0;

export const connections = () => count;
export const documents = () => Object.values(client.collections.notes ?? {});

export function connect({ websocket }) {
  client = new DDPClient({ url: websocket, autoReconnectTimer: 200 });
  return new Promise((resolve, reject) => {
    client.connect((error) => {
      if (error) return reject(new Error(error));
      count++;
      resolve();
    });
  });
}

const promised = (start) =>
  new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));

export const subscribe = (name, ...params) => promised((done) => client.subscribe(name, params, done));
export const call = (name, ...params) => promised((done) => client.call(name, params, done));
