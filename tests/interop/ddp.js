// npm "ddp" against the bookstore: node ddp.js <url> <book id> <new title>
"use strict";

const DDPClient = require("ddp");
const { book, fail, report } = require("./report");

const [url, bookId, title] = process.argv.slice(2);
const client = new DDPClient({ url, autoReconnect: false });
const documents = (name) => client.collections[name] || {};
const theBook = () => book(documents("bookstore.book")[bookId]);

client.connect((error) => (error ? fail(error) : client.subscribe("AllBooks", [], subscribed)));

function subscribed(error) {
  if (error) return fail(error);
  const [authors, books] = ["bookstore.author", "bookstore.book"].map((name) => Object.keys(documents(name)).length);
  const observer = client.observe("bookstore.book");
  observer.changed = (id) => {
    if (id !== bookId) return;
    observer.stop();
    report({ changed: theBook() });
    rename();
  };
  report({ ready: { authors, books, book: theBook() } });
}

function rename() {
  // The result and `updated` may come in either order.
  let result, renamed;
  const both = () => {
    if (result === undefined || renamed === undefined) return;
    report({ renamed: { result, book: renamed } });
    refuse();
  };
  client.call(
    "bookstore.rename_book",
    [bookId, title],
    (error, value) => (error ? fail(error) : ((result = value), both())),
    () => ((renamed = theBook()), both()),
  );
}

function refuse() {
  client.call("bookstore.rename_book", ["no such book", title], (error) => {
    report({ refused: { error: error.error, reason: error.reason } });
    client.close();
    process.exit(0);
  });
}
