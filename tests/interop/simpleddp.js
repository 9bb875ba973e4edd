// npm "simpleddp" against the bookstore: node simpleddp.js <url> <book id> <new title>
"use strict";

const SimpleDDP = require("simpleddp");
const WebSocket = require("ws");
const { book, fail, report } = require("./report");

const [endpoint, bookId, title] = process.argv.slice(2);
const server = new SimpleDDP({ endpoint, SocketConstructor: WebSocket, autoReconnect: false });
const books = () => server.collection("bookstore.book");
const theBook = () => book(books().filter((document) => document.id === bookId).fetch()[0]);

async function main() {
  await server.connect();
  await server.subscribe("AllBooks").ready();
  const change = changed();
  report({
    ready: {
      authors: server.collection("bookstore.author").fetch().length,
      books: books().fetch().length,
      book: theBook(),
    },
  });
  await change;
  report({ changed: theBook() });
  const renamed = changed(); // the call is over with its result; the data may come after that
  const result = await server.call("bookstore.rename_book", bookId, title);
  await renamed;
  report({ renamed: { result, book: theBook() } });
  const error = await server.call("bookstore.rename_book", "no such book", title).catch((refused) => refused);
  report({ refused: { error: error.error, reason: error.reason } });
  await server.disconnect();
  process.exit(0);
}

function changed() {
  return new Promise((resolve) => {
    const watch = books()
      .filter((document) => document.id === bookId)
      .onChange(() => {
        watch.stop();
        resolve();
      });
  });
}

main().catch(fail);
