// npm "@meteorrn/core", for React Native: here without it, with Node's sockets and a storage in memory.
import { register } from "node:module";
import WebSocket from "ws";

register("./meteorrn-loader.mjs", import.meta.url);
globalThis.WebSocket = WebSocket;

const { default: Meteor, Mongo } = await import("@meteorrn/core");
const notes = new Mongo.Collection("notes");
const stored = new Map();
const AsyncStorage = {
  getItem: async (key) => stored.get(key) ?? null,
  setItem: async (key, value) => void stored.set(key, value),
  removeItem: async (key) => void stored.delete(key),
};
let count = 0;

export const connections = () => count;
export const documents = () => notes.find().fetch();

export function connect({ websocket }) {
  Meteor.connect(websocket, { AsyncStorage, NetInfo: null, reconnectInterval: 200 });
  return new Promise((resolve) => {
    Meteor.getData().ddp.on("connected", () => {
      count++;
      resolve();
    });
  });
}

const promised = (start) =>
  new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));

export function subscribe(name, ...params) {
  return new Promise((resolve, reject) => {
    Meteor.subscribe(name, ...params, { onReady: resolve, onError: reject, onStop: reject });
  });
}

export const call = (name, ...params) => promised((done) => Meteor.call(name, ...params, done));
export const login = (username, password) => promised((done) => Meteor.loginWithPassword(username, password, done));
