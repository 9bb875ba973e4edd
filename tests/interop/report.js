// What the scripts share: one JSON object per line for pytest, and an end for a script that hears nothing.
"use strict";

const TIME_LIMIT = 30000;

setTimeout(() => fail(new Error(`nothing more within ${TIME_LIMIT} ms`)), TIME_LIMIT);
process.on("unhandledRejection", fail);

function report(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function fail(error) {
  process.stderr.write(`${error && error.stack ? error.stack : JSON.stringify(error)}\n`);
  process.exit(1);
}

// A book as this client sees it; "added" only if it is a true date.
function book(document) {
  const added = document.added instanceof Date ? document.added.getTime() : null;
  return { id: document._id || document.id, title: document.title, price: document.price, added };
}

module.exports = { book, fail, report };
