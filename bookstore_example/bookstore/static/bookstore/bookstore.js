/**
 * The bookstore's page: shows what the server sends and calls its methods; it never reloads anything.
 *
 * Law of this module: documents flow one way. Collections change, the rows of the documents that changed are
 * touched, nothing else is. A method's effect is shown when its documents arrive, as everybody else's is.
 */
const { connect } = await import(new URL(document.body.dataset.ddp, document.baseURI).href);

const client = connect();
const allBooks = client.subscribe("AllBooks");
const authors = client.collection("bookstore.author");
const books = client.collection("bookstore.book");

const byId = (id) => document.getElementById(id);
const make = (templateId) => byId(templateId).content.firstElementChild.cloneNode(true);

// --- Words ----------------------------------------------------------------------------------------------

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
const year = (number) => (number < 0 ? `${-number} BC` : String(number ?? ""));
const authorName = (book) => authors.get(book.author_id)?.name ?? "";

/** Text without case and accents, to search in. */
const fold = (text) =>
  text
    .normalize("NFD")
    .replace(/\p{Diacritic}/gu, "")
    .toLowerCase();

/** The folded text of a document, made once: a document that changes is a new object. */
const searchable =
  (textOf, cache = new WeakMap()) =>
  (document) => {
    if (!cache.has(document)) cache.set(document, fold(textOf(document)));
    return cache.get(document);
  };
const authorText = searchable(({ name, email }) => `${name} ${email}`);
const nameText = searchable(({ name }) => name);
const bookText = searchable(({ title, published, language }) => `${title} ${year(published)} ${language}`);

// --- What the visitor looks at --------------------------------------------------------------------------

const view = { words: [], author: null, sort: "title", direction: 1 };

function isBookShown(book) {
  if (view.author !== null && book.author_id !== view.author) return false;
  const author = authors.get(book.author_id);
  return view.words.every(
    (word) => bookText(book).includes(word) || (author && nameText(author).includes(word)),
  );
}

const isAuthorShown = (author) =>
  author._id === view.author || view.words.every((word) => authorText(author).includes(word));

const BOOK_ORDERS = {
  title: (a, b) => collator.compare(a.title, b.title),
  author: (a, b) => collator.compare(authorName(a), authorName(b)),
  published: (a, b) => a.published - b.published,
  price: (a, b) => a.price - b.price,
};
const compareBooks = (a, b) =>
  view.direction * BOOK_ORDERS[view.sort](a, b) || BOOK_ORDERS.title(a, b) || collator.compare(a._id, b._id);
const compareAuthors = (a, b) => collator.compare(a.name, b.name) || collator.compare(a._id, b._id);

// --- Rows -----------------------------------------------------------------------------------------------

const BULK = 60; // from so many changes on, sorting everything once is cheaper than placing each

/** Rows for the documents of a collection that are to be shown, in order; only touched rows are touched. */
class KeyedRows {
  #rows = new Map(); // document id -> {element, document}
  #shown = []; // the documents whose rows are in the container, in the same order

  constructor(container, { collection, create, update, compare, isShown }) {
    Object.assign(this, { container, collection, create, update, compare, isShown });
  }

  get count() {
    return this.#shown.length;
  }

  element(id) {
    return this.#rows.get(id)?.element;
  }

  apply(changes, { isLive }) {
    if (changes.length > BULK && !this.isEditing) this.refresh();
    else for (const change of changes) this.#applyOne(change);
    for (const { id, before, after } of changes) {
      if (!after) this.#rows.delete(id);
      else if (isLive) flash(this.element(id), before ? "changed" : "added");
    }
  }

  /** Looks at every document again: after another search, order or choice. */
  refresh() {
    if (this.isEditing) return; // moving a row would end the edit; it refreshes at its end
    this.#shown = this.collection.find(this.isShown).sort(this.compare);
    const focused = document.activeElement;
    this.container.replaceChildren(...this.#shown.map((shown) => this.#row(shown)));
    if (this.container.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** Writes a row again although its document is the same: something it quotes has changed. */
  rewrite(id) {
    const row = this.#rows.get(id);
    if (row) this.update(row.element, row.document);
  }

  get isEditing() {
    return this.container.querySelector(".editing") !== null;
  }

  #applyOne({ id, after }) {
    const index = this.#shown.findIndex(({ _id }) => _id === id);
    if (index >= 0) this.#shown.splice(index, 1);
    if (!after || !this.isShown(after)) return index >= 0 && vanish(this.element(id));
    const element = this.#row(after);
    const place = element.querySelector(".editing") ? index : this.#placeOf(after);
    if (place !== index) insertBefore(this.container, element, this.element(this.#shown[place]?._id));
    this.#shown.splice(place, 0, after);
  }

  #placeOf(wanted) {
    let [low, high] = [0, this.#shown.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.#shown[middle], wanted) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #row(shown) {
    const row = this.#rows.get(shown._id) ?? { element: this.create(shown) };
    if (row.document !== shown) this.update(row.element, shown);
    row.document = shown;
    row.element.inert = false; // it may be vanishing
    this.#rows.set(shown._id, row);
    return row.element;
  }
}

/** Moves or inserts an element without taking the focus away from what is inside. */
function insertBefore(container, element, next) {
  const focused = element.contains(document.activeElement) && document.activeElement;
  container.insertBefore(element, next ?? null);
  if (focused) focused.focus({ preventScroll: true });
}

/** Lights a row up for a moment; twice in a row starts again, which an animation of one name would not. */
function flash(element, kind) {
  if (!element?.isConnected) return;
  element.dataset.flash = element.dataset.flash === kind ? `${kind}-again` : kind;
}
document.addEventListener("animationend", ({ target }) => delete target.dataset.flash);

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function vanish(element) {
  element.inert = true;
  if (calm.matches) return element.remove();
  const { finished } = element.animate({ opacity: [1, 0], transform: ["none", "translateX(1rem)"] }, 220);
  finished.then(() => element.inert && element.remove());
}

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// --- Calling methods ------------------------------------------------------------------------------------

const OFFLINE = "There is no connection at the moment. Try again when it is back.";

/** Calls a method, never twice, and waits until its effect is shown on this page. */
async function perform(method, params) {
  if (client.status.state !== "connected") throw new Error(OFFLINE);
  const call = client.apply(method, params, { noRetry: true });
  const result = await call;
  await call.updated;
  await new Promise(requestAnimationFrame); // the collection's own callback of this frame came first
  return result;
}

/** Splits an error into sentences for the named fields and one for everything else. */
function explain(error, fieldNames) {
  const fields = {};
  const others = [];
  for (const [field, sentences] of Object.entries(fieldErrors(error))) {
    const name = fieldNames.find((name) => name === field || name === `${field}_id`);
    if (name) fields[name] = [sentences].flat().join(" ");
    else others.push([sentences].flat().join(" "));
  }
  const isExplained = others.length || Object.keys(fields).length;
  return { fields, other: isExplained ? others.join(" ") : (error.reason ?? error.message) };
}

const fieldErrors = ({ details }) =>
  typeof details === "object" && details !== null && !Array.isArray(details) ? details : {};

let errorCount = 0;

/** Shows a sentence beside an input, tied to it for screen readers; an empty one takes it away. */
function showFieldError(input, sentence = "") {
  const place = input.parentElement;
  place.querySelector(".field-error")?.remove();
  input.removeAttribute("aria-describedby");
  input.setAttribute("aria-invalid", String(Boolean(sentence)));
  if (!sentence) return;
  const note = Object.assign(document.createElement("span"), {
    className: "field-error",
    textContent: sentence,
  });
  note.id = `error-${++errorCount}`;
  note.setAttribute("role", "alert");
  input.setAttribute("aria-describedby", note.id);
  input.after(note);
}

// --- Adding ---------------------------------------------------------------------------------------------

const wholeNumber = (text) => (/^-?\d+$/.test(text) ? Number(text) : text);

/** How the fields of a form become the arguments of its method. */
const ARGUMENTS = {
  "bookstore.add_author": ({ name, email }) => [name, email],
  "bookstore.add_book": ({ title, author_id, published, price }) => [
    title,
    author_id,
    wholeNumber(published),
    price,
  ],
};

function setUpAdder(form, rows, { onOpen = () => {} } = {}) {
  const { method } = form.dataset;
  const opener = document.querySelector(`[aria-controls="${form.id}"]`);
  const inputs = [...form.querySelectorAll("input, select")];
  const names = inputs.map(({ name }) => name);
  const submit = form.querySelector("[type=submit]");
  const note = form.querySelector(".form-error");

  const show = ({ fields = {}, other = "" } = {}) => {
    for (const input of inputs) showFieldError(input, fields[input.name]);
    note.textContent = other;
    inputs.find(({ name }) => fields[name])?.focus();
  };
  const toggle = (isOpen) => {
    form.hidden = !isOpen;
    opener.setAttribute("aria-expanded", String(isOpen));
    show();
    if (isOpen) onOpen();
    (isOpen ? (inputs.find(({ value }) => !value) ?? inputs[0]) : opener).focus();
  };
  const save = async () => {
    const values = Object.fromEntries(inputs.map(({ name, value }) => [name, value.trim()]));
    submit.disabled = true;
    try {
      const id = await perform(method, ARGUMENTS[method](values));
      form.reset();
      toggle(false);
      rows.element(id)?.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
    } catch (error) {
      show(explain(error, names));
    } finally {
      submit.disabled = false;
    }
  };

  opener.addEventListener("click", () => toggle(form.hidden));
  form.querySelector(".cancel").addEventListener("click", () => toggle(false));
  form.addEventListener("keydown", ({ key }) => key === "Escape" && toggle(false));
  form.addEventListener("input", ({ target }) => showFieldError(target));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
}

// --- Editing in place -----------------------------------------------------------------------------------

const EDITS = {
  title: { method: "bookstore.rename_book", label: "Title", inputMode: "text" },
  price: { method: "bookstore.reprice_book", label: "Price", inputMode: "decimal" },
};

/** Puts an input in the place of a value: Enter or leaving saves, Escape keeps the old value. */
function edit(button, book) {
  const field = button.dataset.edit;
  const { method, label, inputMode } = EDITS[field];
  const form = Object.assign(document.createElement("form"), { className: "editing", noValidate: true });
  const input = Object.assign(document.createElement("input"), {
    value: book[field],
    inputMode,
    autocomplete: "off",
  });
  input.setAttribute("aria-label", `${label} of ${book.title}`);
  form.append(input);
  let offered = book[field]; // what the server already has, or has already refused

  const end = () => {
    if (!form.isConnected) return;
    input.removeEventListener("blur", save); // taking a focused input away blurs it
    const hadFocus = form.contains(document.activeElement);
    form.replaceWith(button);
    if (hadFocus) button.focus({ preventScroll: true });
    bookRows.refresh();
  };
  const save = async () => {
    if (input.readOnly || !books.get(book._id)) return;
    if (input.value.trim() === offered) return end();
    offered = input.value.trim();
    input.readOnly = true;
    try {
      await perform(method, [book._id, offered]);
      end();
    } catch (error) {
      const { fields, other } = explain(error, [field]);
      showFieldError(input, fields[field] ?? other);
    } finally {
      input.readOnly = false;
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  form.addEventListener("keydown", ({ key }) => key === "Escape" && end());
  input.addEventListener("input", () => showFieldError(input));
  button.replaceWith(form);
  input.focus();
  input.select();
  input.addEventListener("blur", save);
}

// --- Deleting -------------------------------------------------------------------------------------------

/** Asks within the row; leaving the question is a no. */
function confirmDelete(row, button, book) {
  const question = make("confirm-delete");
  const [yes, no] = question.querySelectorAll("button");
  question.setAttribute("aria-label", `Delete ${book.title}?`);
  let isBusy = false;

  const end = () => {
    if (isBusy) return;
    isBusy = true; // taking the question away moves the focus out of it, which ends it
    const hadFocus = question.contains(document.activeElement);
    question.remove();
    if (hadFocus) button.focus({ preventScroll: true });
  };
  const remove = async () => {
    isBusy = yes.disabled = true;
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    try {
      await perform("bookstore.remove_book", [book._id]);
      if (document.activeElement === document.body)
        neighbour?.querySelector(".delete").focus({ preventScroll: true });
    } catch (error) {
      question.querySelector(".question").hidden = true;
      question.querySelector(".form-error").textContent = explain(error, []).other;
    } finally {
      isBusy = yes.disabled = false;
      if (document.activeElement === document.body) no.focus({ preventScroll: true });
    }
  };

  yes.addEventListener("click", remove);
  no.addEventListener("click", end);
  question.addEventListener("keydown", ({ key }) => key === "Escape" && end());
  question.addEventListener("focusout", ({ relatedTarget }) => question.contains(relatedTarget) || end());
  row.lastElementChild.append(question);
  no.focus({ preventScroll: true });
}

// --- The two panes --------------------------------------------------------------------------------------

const booksOf = new Map(); // author id -> ids of the books
const bookRows = new KeyedRows(byId("book-list"), {
  collection: books,
  isShown: isBookShown,
  compare: compareBooks,
  create: (book) => createBookRow(book._id),
  update: updateBookRow,
});
const authorRows = new KeyedRows(byId("author-list"), {
  collection: authors,
  isShown: isAuthorShown,
  compare: compareAuthors,
  create: (author) => createAuthorRow(author._id),
  update: updateAuthorRow,
});

function createBookRow(id) {
  const row = make("book-row");
  row.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button?.dataset.edit) edit(button, books.get(id));
    else if (button?.matches(".delete") && !row.querySelector(".confirm"))
      confirmDelete(row, button, books.get(id));
  });
  for (const button of row.querySelectorAll("[data-edit]")) button.title = "Click to edit";
  row.parts = {
    title: row.querySelector("[data-edit=title]"),
    price: row.querySelector("[data-edit=price]"),
    author: row.querySelector(".author"),
    year: row.querySelector(".year"),
    language: row.querySelector(".language"),
    remove: row.querySelector(".delete"),
  };
  return row;
}

function updateBookRow({ parts }, book) {
  setText(parts.title, book.title);
  setText(parts.price, book.price);
  setText(parts.author, authorName(book));
  setText(parts.year, year(book.published));
  setText(parts.language, book.language === "English" ? "" : book.language);
  parts.remove.setAttribute("aria-label", `Delete ${book.title}`);
}

function createAuthorRow(id) {
  const row = make("author-row");
  row.firstElementChild.addEventListener("click", () => choose(view.author === id ? null : id));
  return row;
}

function updateAuthorRow(row, author) {
  const count = booksOf.get(author._id)?.size ?? 0;
  setText(row.querySelector(".name"), author.name);
  setText(
    row.querySelector(".about"),
    [author.born && `born ${year(author.born)}`, author.email].filter(Boolean).join(" · "),
  );
  setText(row.querySelector(".books-of"), String(count));
  row.querySelector(".books-of").title = plural(count, "book");
  row.firstElementChild.setAttribute("aria-pressed", String(author._id === view.author));
}

function moveBook(id, from, to) {
  booksOf.get(from)?.delete(id);
  if (to !== undefined && !booksOf.has(to)) booksOf.set(to, new Set());
  booksOf.get(to)?.add(id);
  for (const authorId of [from, to]) authorRows.rewrite(authorId);
}

let isLive = false; // whether what changes now is news, and not the first documents
function atReady() {
  requestAnimationFrame(() => (isLive = true)); // the first documents are rendered earlier in that frame
  showCounts();
}
allBooks.ready.then(atReady, showCounts);

books.onChange((changes) => {
  for (const { id, before, after } of changes)
    if (before?.author_id !== after?.author_id) moveBook(id, before?.author_id, after?.author_id);
  bookRows.apply(changes, { isLive });
  showCounts();
});

authors.onChange((changes) => {
  authorRows.apply(changes, { isLive });
  for (const { id } of changes) for (const bookId of booksOf.get(id) ?? []) bookRows.rewrite(bookId);
  if (view.author !== null && !authors.get(view.author)) choose(null);
  else if (view.sort === "author" || view.words.length) bookRows.refresh();
  if (!byId("add-book").hidden) fillAuthorSelect();
  showChosen();
  showCounts();
});

function missing(pane) {
  if (allBooks.isStopped) return allBooks.error?.message ?? "The server has ended the subscription.";
  return allBooks.isReady ? `There are no ${pane} yet.` : "Loading …";
}

function showCounts() {
  showCount("books", bookRows.count, books.size);
  showCount("authors", authorRows.count, authors.size);
}

function showCount(pane, shown, total) {
  const text =
    shown === total ? total.toLocaleString() : `${shown.toLocaleString()} of ${total.toLocaleString()}`;
  for (const place of document.querySelectorAll(`[data-count=${pane}]`))
    setText(place, allBooks.isReady || total ? text : "");
  const note = byId(pane).querySelector(".empty");
  note.hidden = shown > 0;
  setText(note, total ? "Nothing matches the search." : missing(pane));
}

function refreshAll() {
  authorRows.refresh();
  bookRows.refresh();
  showCounts();
}

// --- Searching, choosing, sorting -----------------------------------------------------------------------

byId("search").addEventListener("input", ({ target }) => {
  view.words = fold(target.value).split(/\s+/).filter(Boolean);
  refreshAll();
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("search").focus();
});

function choose(id) {
  const before = view.author;
  view.author = id;
  for (const author of [before, id]) authorRows.rewrite(author);
  byId("book-list").scrollTop = 0;
  if (id !== null) showPane("books");
  showChosen();
  refreshAll();
}

function showChosen() {
  const chosen = view.author === null ? undefined : authors.get(view.author);
  byId("chosen").hidden = !chosen;
  if (chosen) setText(byId("chosen").firstElementChild, chosen.name);
}
byId("chosen").addEventListener("click", () => {
  choose(null);
  byId("search").focus();
});

function sortBy(column) {
  view.direction = view.sort === column ? -view.direction : 1;
  view.sort = column;
  for (const button of document.querySelectorAll("[data-sort]")) {
    const order = view.direction > 0 ? "ascending" : "descending";
    if (button.dataset.sort === column) button.parentElement.setAttribute("aria-sort", order);
    else button.parentElement.removeAttribute("aria-sort");
  }
  bookRows.refresh();
}
for (const button of document.querySelectorAll("[data-sort]"))
  button.addEventListener("click", () => sortBy(button.dataset.sort));

function fillAuthorSelect() {
  const select = byId("add-book").elements.author_id;
  const chosen = select.value || view.author || "";
  const options = authors
    .find()
    .sort(compareAuthors)
    .map(({ _id, name }) => new Option(name, _id));
  select.replaceChildren(new Option("Choose an author", ""), ...options);
  select.value = chosen;
}
setUpAdder(byId("add-author"), authorRows);
setUpAdder(byId("add-book"), bookRows, { onOpen: fillAuthorSelect });

// --- Tabs, on a narrow screen ---------------------------------------------------------------------------

function showPane(name) {
  document.body.dataset.pane = name;
  for (const tab of document.querySelectorAll(".tabs button"))
    tab.setAttribute("aria-current", String(tab.dataset.pane === name));
}
for (const tab of document.querySelectorAll(".tabs button"))
  tab.addEventListener("click", () => showPane(tab.dataset.pane));

// --- Connection -----------------------------------------------------------------------------------------

const STATES = {
  connecting: "Connecting",
  connected: "Live",
  waiting: "Reconnecting",
  offline: "Offline",
  failed: "Cannot connect",
};

function showConnection() {
  const { state, retryTime, reason = "" } = client.status;
  const shown = state === "waiting" && !navigator.onLine ? "offline" : state;
  byId("connection").dataset.state = shown;
  byId("connection").title = reason;
  setText(byId("connection-text"), STATES[shown]);
  const seconds = Math.max(0, Math.ceil((retryTime - Date.now()) / 1000));
  setText(byId("connection-countdown"), shown === "waiting" ? `in ${seconds} s` : "");
  byId("retry").hidden = state === "connected" || state === "connecting";
}
client.on("status", showConnection);
setInterval(showConnection, 250);
for (const event of ["online", "offline"]) addEventListener(event, showConnection);
byId("retry").addEventListener("click", () => client.reconnect());
allBooks.onStop(showCounts);
showConnection();
showCounts();

// --- Activity -------------------------------------------------------------------------------------------

const KEPT_MESSAGES = 100;

const activity = {
  isPaused: false,
  waiting: [], // messages not shown yet, at most as many as can be
  unseen: 0, // messages that came while paused
  isScheduled: false,
  in: 0,
  out: 0,
  bytes: 0,
  names: new Map(), // id of a subscription or method call -> its name, for the messages that answer it
};

const brief = (value) => (value === undefined ? "" : JSON.stringify(value));
const signature = (name, params = []) => `${name}(${params.map(brief).join(", ")})`;
const named = (ids = []) => ids.map((id) => activity.names.get(id) ?? id).join(", ");
const documentName = ({ collection, id }) => `${collection} ${id}`;

/** What a message says, in a few words. */
const GISTS = {
  connect: ({ version }) => `version ${version}`,
  connected: ({ session }) => `session ${session}`,
  sub: ({ name, params }) => signature(name, params),
  unsub: ({ id }) => named([id]),
  nosub: ({ id, error }) => `${named([id])} ${error?.message ?? ""}`,
  ready: ({ subs }) => named(subs),
  method: ({ method, params }) => signature(method, params),
  result: ({ id, result, error }) => `${named([id])} ${error?.message ?? brief(result)}`,
  updated: ({ methods }) => named(methods),
  added: (message) => `${documentName(message)} ${brief(message.fields)}`,
  changed: (message) => `${documentName(message)} ${brief(message.fields ?? message.cleared)}`,
  removed: documentName,
  error: ({ reason }) => reason,
};

function messageRow({ direction, message, text, time }) {
  const row = make("message-row");
  const part = (selector) => row.querySelector(selector);
  const kind = message.msg ?? "greeting";
  row.dataset.kind = message.error ? "error" : kind;
  row.dataset.direction = direction;
  part(".direction").textContent = direction === "in" ? "↓" : "↑";
  part(".direction").setAttribute("aria-label", direction === "in" ? "received" : "sent");
  part(".kind").textContent = kind;
  part(".gist").textContent = (GISTS[kind]?.(message) ?? "").slice(0, 200);
  part("time").textContent = time.toTimeString().slice(0, 8);
  part("details").addEventListener("toggle", () => {
    part("pre").textContent = JSON.stringify(JSON.parse(text), null, 2);
  });
  return row;
}

function showMessages() {
  activity.isScheduled = false;
  setText(byId("received"), activity.in.toLocaleString());
  setText(byId("sent"), activity.out.toLocaleString());
  setText(byId("traffic-bytes"), `${Math.ceil(activity.bytes / 1024).toLocaleString()} KB`);
  setText(
    byId("unseen"),
    activity.isPaused && activity.unseen ? `${activity.unseen.toLocaleString()} while paused` : "",
  );
  if (activity.isPaused) return;
  const list = byId("message-list");
  list.prepend(...activity.waiting.splice(0).map(messageRow).reverse());
  while (list.childElementCount > KEPT_MESSAGES) list.lastElementChild.remove();
}

client.on("message", ({ direction, message, text }) => {
  activity[direction] += 1;
  activity.bytes += text.length;
  activity.unseen += 1;
  if (message.msg === "sub" || message.msg === "method")
    activity.names.set(message.id, message.name ?? message.method);
  if (!activity.isScheduled) requestAnimationFrame(showMessages);
  activity.isScheduled = true;
  activity.waiting.push({ direction, message, text, time: new Date() });
  if (activity.waiting.length > KEPT_MESSAGES) activity.waiting.shift();
});

byId("pause").addEventListener("click", ({ target }) => {
  activity.isPaused = !activity.isPaused;
  activity.unseen = 0;
  target.setAttribute("aria-pressed", String(activity.isPaused));
  setText(target, activity.isPaused ? "Resume" : "Pause");
  showMessages();
});
