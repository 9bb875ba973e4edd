// The books, and what people do with them.
import { Meteor } from "meteor/meteor";
import { Tracker } from "meteor/tracker";
import { arrange, find, tell } from "./page.js";
import { Authors, Books, CheapBooks, call, second } from "./server.js";

const SHOWN = 50;

let searched = "";
const search = new Tracker.Dependency();

export function startBooks() {
  Meteor.subscribe("AllBooks");
  second.subscribe("CheapestBooks", 5);

  Tracker.autorun(showBooks);
  Tracker.autorun(showAuthors);
  Tracker.autorun(showCheapest);

  find("#search").addEventListener("input", (event) => {
    searched = event.target.value.trim().toLowerCase();
    search.changed();
  });
  find("#books").addEventListener("change", ({ target }) => edit(target));
  find("#add").addEventListener("submit", (event) => {
    event.preventDefault();
    add(event.target);
  });
}

// Tracker runs this again whenever a document that it read has changed, or the search has.
function showBooks() {
  search.depend();
  const names = new Map(Authors.find().map(({ _id, name }) => [_id, name]));
  const books = Books.find({}, { sort: { title: 1 } }).map((book) => ({ ...book, author: names.get(book.author_id) || "" }));
  const found = books.filter(({ title, author }) => `${title} ${author}`.toLowerCase().includes(searched));
  const shown = found.slice(0, SHOWN);
  const rows = arrange(find("#books"), shown.map(({ _id }) => _id), makeRow);
  rows.forEach((row, at) => fill(row, shown[at]));
  find("#count").textContent = String(books.length);
  find("#more").textContent = found.length > SHOWN ? `and ${found.length - SHOWN} more` : "";
}

function makeRow() {
  const row = document.createElement("tr");
  row.innerHTML = "<td><input name=title aria-label=Title></td><td></td><td><input name=price aria-label=Price inputmode=decimal></td>";
  return row;
}

function fill(row, { title, author, price }) {
  row.cells[1].textContent = author;
  for (const [name, value] of [["title", title], ["price", price]]) {
    const input = find(`[name=${name}]`, row);
    if (input !== document.activeElement) input.value = value;
    input.defaultValue = value;
  }
}

function showAuthors() {
  const authors = Authors.find({}, { sort: { name: 1 } }).fetch();
  const options = arrange(find("#add [name=author]"), authors.map(({ _id }) => _id), () => document.createElement("option"));
  options.forEach((option, at) => Object.assign(option, { value: authors[at]._id, textContent: authors[at].name }));
}

function showCheapest() {
  const books = CheapBooks.find({}).fetch().sort((one, other) => one.price - other.price || one.title.localeCompare(other.title));
  const items = arrange(find("#cheapest"), books.map(({ _id }) => _id), () => document.createElement("li"));
  items.forEach((item, at) => (item.textContent = `${books[at].title}, ${books[at].price}`));
}

const METHODS = { title: "bookstore.rename_book", price: "bookstore.reprice_book" };

async function edit(input) {
  const id = input.closest("tr").dataset.key;
  input.blur(); // from here on it shows what the book has
  try {
    await call(METHODS[input.name], id, input.value);
    tell(null);
  } catch (error) {
    input.value = input.defaultValue;
    tell(error);
  }
}

async function add(form) {
  const { title, author, published, price } = form.elements;
  try {
    await call("bookstore.add_book", title.value, author.value, Number(published.value), price.value);
    tell(null);
    form.reset();
  } catch (error) {
    tell(error);
  }
}
