// npm "sockjs-client" against the bookstore, speaking DDP by hand: node sockjs.js <url> <transport> <book id> <title>
"use strict";

const SockJS = require("sockjs-client");
const { fail, report } = require("./report");

const [url, transport, bookId, title] = process.argv.slice(2);
const socket = new SockJS(url, null, { transports: [transport] });
const send = (message) => socket.send(JSON.stringify(message));
const titles = {};

socket.onopen = () => {
  send({ msg: "connect", version: "1", support: ["1"] });
  send({ msg: "sub", id: "1", name: "AllBooks", params: [] });
};
socket.onclose = (event) => fail(new Error(`closed: ${event.code} ${event.reason}`));
socket.onmessage = (event) => {
  const message = JSON.parse(event.data);
  const handler = { added, changed: added, ready, result, updated }[message.msg];
  if (handler) handler(message);
};

function added({ collection, id, fields }) {
  if (collection === "bookstore.book" && fields.title) titles[id] = fields.title;
}

function ready() {
  report({ ready: { books: Object.keys(titles).length, transport: socket.transport } });
  send({ msg: "method", id: "2", method: "bookstore.rename_book", params: [bookId, title] });
}

let answer;

function result(message) {
  answer = message.result;
  finish();
}

let told = false;

function updated() {
  told = true;
  finish();
}

function finish() {
  if (answer === undefined || !told) return;
  report({ renamed: { result: answer, title: titles[bookId] } });
  socket.onclose = (event) => {
    report({ closed: { code: event.code, clean: event.wasClean } });
    process.exit(0);
  };
  socket.close(4000, "bye");
}
