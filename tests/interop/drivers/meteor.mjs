// Meteor 1.3's own client, npm "meteor-client-side" with its two packages for accounts, which the page has loaded.
let notes;
let count = 0;

export const connections = () => count;
export const documents = () => notes.find().fetch();
export const transport = () => Meteor.connection._stream.socket.protocol;

export function connect() {
  notes = new Mongo.Collection("notes");
  return new Promise((resolve) => {
    Tracker.autorun(() => {
      if (!Meteor.status().connected) return;
      count++;
      resolve();
    });
  });
}

const promised = (start) =>
  new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));

export function subscribe(name, ...params) {
  return new Promise((resolve, reject) => Meteor.subscribe(name, ...params, { onReady: resolve, onStop: reject }));
}

export const call = (name, ...params) => promised((done) => Meteor.call(name, ...params, done));
export const login = (username, password) => promised((done) => Meteor.loginWithPassword(username, password, done));
