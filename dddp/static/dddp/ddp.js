/**
 * A DDP 1 client for browsers: subscriptions, methods, and collections that stay equal to the server's.
 *
 *     import { connect } from "./ddp.js";
 *
 *     const client = connect();
 *     client.subscribe("AllBooks");
 *     client.collection("bookstore.book").onChange((changes) => render(changes));
 *     await client.call("bookstore.rename_book", "1", "Emma");
 *
 * Law of this module: one file, no dependency, no build step, no DOM. It knows the protocol and nothing of an
 * application. The browser is touched in three places only: WebSocket (replaceable), the `online` and
 * `visibilitychange` events, and animation frames; each may be absent.
 */

// --- Errors ---------------------------------------------------------------------------------------------

/** An error that the server meant for its client: the answer to a method or the end of a subscription. */
export class MeteorError extends Error {
  /**
   * @param {string | number} error   the code that programs compare, as 404 or "too-many-requests"
   * @param {string} [reason]         one sentence for people
   * @param {*} [details]             plain JSON; for invalid values `{field: [sentence, ...]}`
   */
  constructor(error, reason, details) {
    super(reason ? `${reason} [${error}]` : `[${error}]`);
    this.name = "MeteorError";
    Object.assign(this, { error, reason, details });
  }
}

/** The server sent what DDP does not allow. The message was ignored; it is in `offendingMessage`. */
export class ProtocolError extends Error {
  constructor(sentence, offendingMessage) {
    super(`Illegal message from the server: ${sentence}`);
    this.name = "ProtocolError";
    this.offendingMessage = offendingMessage;
  }
}

const meteorError = ({ error, reason, details }) => new MeteorError(error, reason, details);

// --- EJSON and document ids -----------------------------------------------------------------------------

const OBJECT_ID = /^[0-9a-f]{24}$/;

/** A MongoDB ObjectID; the only custom EJSON type that every DDP client knows. */
export class ObjectID {
  /** @param {string} hex 24 lowercase hexadecimal digits */
  constructor(hex) {
    if (!OBJECT_ID.test(hex)) throw new TypeError(`An ObjectID has 24 lowercase hex digits, not ${hex}`);
    this.hex = hex;
  }
  toString() {
    return this.hex;
  }
}

const mapValues = (object, convert) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, convert(value)]));

const hasExactly = (object, keys) =>
  Object.keys(object).length === keys.length && keys.every((key) => Object.hasOwn(object, key));

function bytesFromBase64(text) {
  if (typeof text !== "string") throw new TypeError("EJSON $binary is not a string");
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function base64FromBytes(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function decodeCustom({ $type, $value }) {
  if ($type !== "oid") throw new TypeError(`EJSON type ${$type} is not known here`);
  return new ObjectID($value);
}

/** The shapes EJSON gives a meaning to, in the order in which they are tried. */
const EJSON_TYPES = [
  { keys: ["$date"], decode: ({ $date }) => new Date($date) },
  { keys: ["$binary"], decode: ({ $binary }) => bytesFromBase64($binary) },
  { keys: ["$InfNaN"], decode: ({ $InfNaN }) => $InfNaN / 0 }, // 0, 1, -1 become NaN, Infinity, -Infinity
  {
    keys: ["$regexp", "$flags"],
    decode: ({ $regexp, $flags }) =>
      new RegExp($regexp, [...new Set($flags.slice(0, 50).replace(/[^gimuy]/g, ""))].join("")),
  },
  { keys: ["$escape"], decode: ({ $escape }) => mapValues($escape, decode) },
  { keys: ["$type", "$value"], decode: decodeCustom },
];
const ejsonType = (object) => EJSON_TYPES.find(({ keys }) => hasExactly(object, keys));

/** The value that a piece of parsed JSON stands for. Raises TypeError or SyntaxError on a malformed one. */
export function decode(json) {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(decode);
  const type = ejsonType(json);
  return type ? type.decode(json) : mapValues(json, decode);
}

/** What JSON.stringify has to be given for a value: the opposite of decode. */
export function encode(value) {
  if (typeof value === "number" && !Number.isFinite(value)) return { $InfNaN: Math.sign(value) || 0 };
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date) return { $date: value.getTime() };
  if (value instanceof Uint8Array) return { $binary: base64FromBytes(value) };
  if (value instanceof RegExp) return { $regexp: value.source, $flags: value.flags };
  if (value instanceof ObjectID) return { $type: "oid", $value: value.hex };
  if (Array.isArray(value)) return value.map(encode);
  const json = mapValues(value, encode);
  return ejsonType(value) ? { $escape: json } : json;
}

const isScalarObject = (value) =>
  [Date, Uint8Array, RegExp, ObjectID].some((constructor) => value instanceof constructor);

/** Whether two EJSON values are the same; the order of keys does not count. */
export function equals(a, b) {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (isScalarObject(a) || isScalarObject(b)) return JSON.stringify(encode(a)) === JSON.stringify(encode(b));
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && equals(a[key], b[key]))
  );
}

/** The text that names a document on the wire, from the `_id` that the application sees. */
export function stringifyId(id) {
  if (id === undefined) return "-";
  if (id instanceof ObjectID) return id.hex;
  if (typeof id === "string") return /^[-~{]/.test(id) || OBJECT_ID.test(id) ? `-${id}` : id;
  if (typeof id === "object" && id !== null)
    throw new TypeError("A document id is a string, a number or an ObjectID");
  return `~${JSON.stringify(id)}`;
}

/** The `_id` that the application sees, from the text on the wire: the opposite of stringifyId. */
export function parseId(wireId) {
  if (wireId === "-") return undefined;
  if (OBJECT_ID.test(wireId)) return new ObjectID(wireId);
  if (wireId.startsWith("~")) return JSON.parse(wireId.slice(1));
  return wireId.startsWith("-") ? wireId.slice(1) : wireId;
}

const ID_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/** 17 random characters that are hard to confuse when read aloud. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(17)), (byte) => ID_ALPHABET[byte % 55]).join("");
}

// --- Collections ----------------------------------------------------------------------------------------

/** The document after a data message. Undefined stands for "not there", before and after. */
function documentAfter(message, before) {
  const { msg, id, fields = {}, cleared = [] } = message;
  const refuse = (sentence) => {
    throw new ProtocolError(sentence, message);
  };
  if (msg === "added" && before) refuse(`added for a document that is already there (${id})`);
  if (msg !== "added" && !before) refuse(`${msg} for a document that was never added (${id})`);
  if (msg === "removed") return undefined;
  if (msg === "changed" && !message.fields && !message.cleared) refuse("changed without fields and cleared");
  if (Object.hasOwn(fields, "_id") || cleared.includes("_id")) refuse("_id among the fields");
  const document = { ...(before ?? { _id: parseId(id) }), ...decode(fields) };
  for (const field of cleared) delete document[field];
  return Object.freeze(document);
}

/** Runs a callback of the application, whose failure must not stop the protocol: it surfaces as uncaught. */
function run(callback, ...args) {
  try {
    callback?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

const FRAME_LIMIT = 100; // milliseconds; animation frames stop in a hidden tab, changes should not

/**
 * The documents of one collection that this client has been sent. Documents are frozen: a change makes a new
 * object, so `===` tells whether a document has changed.
 *
 * @typedef {{_id: *, [field: string]: *}} Document
 * @typedef {{id: *, before?: Document, after?: Document}} Change
 */
export class Collection {
  #documents = new Map(); // wire id -> document, in order of arrival
  #observers = new Set();
  #changeCallbacks = new Set();
  #touched = new Map(); // wire id -> the document as onChange callbacks last saw it

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }
  get size() {
    return this.#documents.size;
  }
  [Symbol.iterator]() {
    return this.#documents.values();
  }
  /** @returns {Document | undefined} */
  get(id) {
    return this.#documents.get(stringifyId(id));
  }
  /** @param {(document: Document) => boolean} [predicate] @returns {Document[]} */
  find(predicate = () => true) {
    return [...this].filter(predicate);
  }
  /**
   * Calls `added` for the documents already there, then each callback at every single change, at once.
   * @param {{added?: (document: Document) => void, changed?: (after: Document, before: Document) => void,
   *   removed?: (document: Document) => void}} observer
   * @returns {() => void} stops observing
   */
  observe(observer) {
    for (const document of this) run(observer.added, document);
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }
  /**
   * Calls back once per animation frame in which something changed, with the differences since the last call.
   * @param {(changes: Change[]) => void} callback
   * @returns {() => void} stops the calls
   */
  onChange(callback) {
    this.#changeCallbacks.add(callback);
    return () => this.#changeCallbacks.delete(callback);
  }
  /** The document with this wire id. For the client only, as are the two below. */
  _at(wireId) {
    return this.#documents.get(wireId);
  }
  /** Puts one document; undefined removes it. */
  _set(wireId, after) {
    const before = this.#documents.get(wireId);
    if (after) this.#documents.set(wireId, after);
    else this.#documents.delete(wireId);
    this.#touch(wireId, before);
    for (const observer of [...this.#observers]) {
      if (!before) run(observer.added, after);
      else if (after) run(observer.changed, after, before);
      else run(observer.removed, before);
    }
  }
  /** Makes the collection equal to `documents`, telling observers of real differences only. */
  _replace(documents) {
    for (const wireId of [...this.#documents.keys()])
      if (!documents.has(wireId)) this._set(wireId, undefined);
    for (const [wireId, document] of documents)
      if (!equals(this.#documents.get(wireId), document)) this._set(wireId, document);
  }
  #touch(wireId, before) {
    if (!this.#touched.size) {
      setTimeout(() => this.#flush(), globalThis.requestAnimationFrame ? FRAME_LIMIT : 0);
      globalThis.requestAnimationFrame?.(() => this.#flush());
    }
    if (!this.#touched.has(wireId)) this.#touched.set(wireId, before);
  }
  #flush() {
    const changes = [...this.#touched]
      .map(([wireId, before]) => ({ id: parseId(wireId), before, after: this.#documents.get(wireId) }))
      .filter(({ before, after }) => before !== after);
    this.#touched.clear();
    if (changes.length) for (const callback of [...this.#changeCallbacks]) run(callback, changes);
  }
}

// --- Subscriptions and invocations ----------------------------------------------------------------------

function defer() {
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  return deferred;
}

/** One subscription, kept alive over reconnects until it is stopped by either side. */
export class Subscription {
  #ready = defer();
  #stopCallbacks = [];
  #stop;

  constructor(name, params, stop) {
    Object.assign(this, { id: randomId(), name, params: encode(params), isReady: false, isStopped: false });
    this.#stop = stop;
    /** Resolves when the first documents are there; rejects if the server refuses, or after stop(). */
    this.ready = this.#ready.promise;
    this.ready.catch(() => {}); // a refusal is told to onStop, or as the client's "error" event
  }
  /** Ends it. Documents that no other subscription holds leave their collections. */
  stop() {
    if (!this.isStopped) this.#stop(this);
  }
  /** @param {(error?: MeteorError) => void} callback runs once, at the end; at once if that has come */
  onStop(callback) {
    if (this.isStopped) run(callback, this.error);
    else this.#stopCallbacks.push(callback);
    return this;
  }
  _settle() {
    this.#ready.resolve();
  }
  /** @returns {boolean} whether somebody was told */
  _end(error) {
    Object.assign(this, { isStopped: true, error });
    this.#ready.reject(error ?? new MeteorError("stopped", `The subscription to ${this.name} was stopped`));
    for (const callback of this.#stopCallbacks) run(callback, error);
    return this.#stopCallbacks.length > 0;
  }
}

class Invocation {
  result = defer();
  updated = defer();
  isSent = false;
  hasResult = false;
  hasUpdated = false;

  constructor(id, name, params, noRetry) {
    Object.assign(this, { id, name, params: encode(params), noRetry });
    this.result.promise.updated = this.updated.promise;
    this.updated.promise.catch(() => {}); // whoever wants to know awaits the result
  }
}

// --- Client ---------------------------------------------------------------------------------------------

/**
 * @typedef {object} Status
 * @property {"connecting" | "connected" | "waiting" | "offline" | "failed"} state
 *   waiting: will retry at retryTime; offline: after disconnect(); failed: the server speaks no DDP 1
 * @property {number} retryCount  attempts since the connection was last there
 * @property {number} [retryTime] milliseconds since the epoch
 * @property {string} [reason]    why there is no connection
 *
 * @typedef {object} Options  all times in milliseconds
 * @property {typeof WebSocket} [WebSocket]     the class to open sockets with
 * @property {number} [retryDelay=500]          mean of the first delay; doubles with every further attempt
 * @property {number} [maxRetryDelay=30000]
 * @property {number} [connectTimeout=10000]    from the attempt to the server's `connected`
 * @property {number} [heartbeatInterval=17500] silence after which to ping; longer than a server's usual 15 s
 * @property {number} [heartbeatTimeout=15000]  silence after a ping that means the connection is dead
 */
const DEFAULTS = {
  retryDelay: 500,
  maxRetryDelay: 30000,
  connectTimeout: 10000,
  heartbeatInterval: 17500,
  heartbeatTimeout: 15000,
};
const OPEN = 1; // WebSocket.readyState

/** One DDP connection that comes back by itself. Made by connect(). */
export class Client {
  /** @type {Status} */
  status = { state: "offline", retryCount: 0 };

  #url;
  #options;
  #socket = null;
  #session;
  #timer; // the client waits for one thing at a time: an answer, silence, or the next attempt
  #listeners = { connect: new Set(), status: new Set(), message: new Set(), error: new Set() };
  #collections = new Map(); // name -> Collection
  #subscriptions = new Map(); // id -> Subscription, stopped ones until the server's nosub
  #invocations = new Map(); // id -> Invocation, until both result and updated
  #invocationCount = 0;
  // Quiescence: after a reconnect the old documents stay until `awaited` subscriptions are ready again.
  #incoming = null; // collection name -> (wire id -> document) of the new connection, meanwhile
  #awaited = new Set(); // subscription ids
  #deferred = []; // what may only happen when the new documents are shown

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    globalThis.addEventListener?.("online", () => this.#wake());
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#wake());
    this.#open();
  }

  /** @param {string} name @returns {Collection} always the same object for one name */
  collection(name) {
    if (!this.#collections.has(name)) this.#collections.set(name, new Collection(name));
    return this.#collections.get(name);
  }

  /** @returns {Subscription} */
  subscribe(name, ...params) {
    const subscription = new Subscription(name, params, (stopped) => this.#unsubscribe(stopped));
    this.#subscriptions.set(subscription.id, subscription);
    this.#sendSub(subscription);
    return subscription;
  }

  /** Calls a method: `apply` with its arguments spread. */
  call(name, ...params) {
    return this.apply(name, params);
  }

  /**
   * Calls a method; waits for a connection if there is none. A call that a lost connection left unanswered is
   * sent again, so it may run twice, unless `noRetry`: then it rejects with the error "invocation-failed".
   * @returns {Promise<*> & {updated: Promise<void>}} its result; `updated` resolves when every document that
   *   the method wrote has arrived here
   */
  apply(name, params = [], { noRetry = false } = {}) {
    const invocation = new Invocation(String(++this.#invocationCount), name, params, noRetry);
    this.#invocations.set(invocation.id, invocation);
    this.#sendMethod(invocation);
    return invocation.result.promise;
  }

  /**
   * Events: "connect" (a connection is open; calls made now, such as a login, go out before waiting ones and
   * before the subscriptions); "status" (Status); "message" ({direction: "in" | "out", message, text}:
   * everything on the wire); "error" (ProtocolError, or MeteorError of a subscription without onStop; to the
   * console if nobody listens).
   * @returns {() => void} stops listening
   */
  on(event, callback) {
    if (!Object.hasOwn(this.#listeners, event))
      throw new TypeError(`No event ${event}; there are ${Object.keys(this.#listeners).join(", ")}`);
    this.#listeners[event].add(callback);
    return () => this.#listeners[event].delete(callback);
  }

  /** Connects now instead of at retryTime; also after disconnect(). */
  reconnect() {
    if (!this.#socket) this.#open();
  }

  /** Closes the connection and stays offline until reconnect(). Documents stay; calls wait. */
  disconnect() {
    this.#detach();
    this.#setStatus({ state: "offline", retryCount: 0 });
  }

  // Connection

  #open() {
    const socket = new this.#options.WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#start();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lose(reason || `The connection was closed (code ${code})`);
    this.#after(this.#options.connectTimeout, () => this.#lose("The server did not answer in time"));
    this.#setStatus({ state: "connecting", retryCount: this.status.retryCount });
  }

  /** Sends all that the server must know, without waiting for `connected`: one round trip less. */
  #start() {
    // Copied first: a listener may call and subscribe, and that is sent at once.
    const [invocations, subscriptions] = [[...this.#invocations.values()], [...this.#subscriptions.values()]];
    this.#send({ msg: "connect", version: "1", support: ["1"], session: this.#session });
    this.#emit("connect");
    for (const invocation of invocations) this.#sendAgain(invocation);
    for (const subscription of subscriptions) if (!subscription.isStopped) this.#sendSub(subscription);
  }

  #lose(reason) {
    this.#detach();
    const { retryDelay, maxRetryDelay } = this.#options;
    const retryCount = this.status.retryCount + 1;
    // Half to one and a half times the mean, so that the clients of a restarted server come back spread out.
    const delay = Math.min(maxRetryDelay, retryDelay * 2 ** (retryCount - 1)) * (0.5 + Math.random());
    this.#after(delay, () => this.#open());
    this.#setStatus({ state: "waiting", retryCount, retryTime: Date.now() + delay, reason });
  }

  #detach() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = this.#incoming = null;
    this.#awaited.clear();
    for (const { id, isStopped } of this.#subscriptions.values())
      if (isStopped) this.#subscriptions.delete(id);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** The network or the user is back: do not wait for a timer. */
  #wake() {
    if (this.status.state === "waiting") this.#open();
    if (this.status.state === "connected") this.#ping();
  }

  #after(milliseconds, callback) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(callback, milliseconds);
  }

  #ping() {
    this.#send({ msg: "ping" });
    this.#after(this.#options.heartbeatTimeout, () => this.#lose("The server stopped answering"));
  }

  #setStatus(status) {
    this.status = status;
    this.#emit("status", status);
  }

  #emit(event, value) {
    for (const callback of [...this.#listeners[event]]) run(callback, value);
    if (event === "error" && !this.#listeners.error.size) console.error(value);
  }

  // Out

  #send(message) {
    if (this.#socket?.readyState !== OPEN) return; // #start sends what is still wanted
    const text = JSON.stringify(message);
    this.#socket.send(text);
    this.#emit("message", { direction: "out", message, text });
  }

  #sendSub({ id, name, params }) {
    this.#send({ msg: "sub", id, name, params });
  }

  #sendMethod(invocation) {
    const { id, name, params } = invocation;
    invocation.isSent = this.#socket?.readyState === OPEN;
    this.#send({ msg: "method", method: name, params, id });
  }

  #sendAgain(invocation) {
    if (invocation.hasResult) return; // the new connection's documents will hold what it wrote
    invocation.hasUpdated = false;
    if (!invocation.isSent || !invocation.noRetry) return this.#sendMethod(invocation);
    this.#invocations.delete(invocation.id);
    const error = new MeteorError(
      "invocation-failed",
      `The connection was lost while ${invocation.name} ran`,
    );
    invocation.result.reject(error);
    invocation.updated.reject(error);
  }

  #unsubscribe(subscription) {
    subscription._end();
    if (this.#socket?.readyState === OPEN) this.#send({ msg: "unsub", id: subscription.id });
    else this.#subscriptions.delete(subscription.id);
    this.#awaited.delete(subscription.id);
    this.#showIncoming();
  }

  // In

  #receive(text) {
    try {
      const message = JSON.parse(text);
      this.#emit("message", { direction: "in", message, text });
      this.#dispatch(message);
    } catch (error) {
      const isNamed = error instanceof ProtocolError || error instanceof MeteorError;
      this.#emit("error", isNamed ? error : new ProtocolError(error.message, text));
    }
    if (this.status.state === "connected") this.#after(this.#options.heartbeatInterval, () => this.#ping());
  }

  #dispatch(message) {
    switch (message?.msg) {
      case "connected":
        return this.#connected(message);
      case "failed":
        this.#detach();
        return this.#setStatus({
          state: "failed",
          retryCount: 0,
          reason: `The server speaks DDP ${message.version}`,
        });
      case "ping":
        return this.#send({ msg: "pong", id: message.id });
      case "pong":
        return;
      case "added":
      case "changed":
      case "removed":
        return this.#data(message);
      case "ready":
        return this.#ready(message);
      case "nosub":
        return this.#nosub(message);
      case "result":
        return this.#result(message);
      case "updated":
        return this.#updated(message);
      case "error":
        throw new ProtocolError(`it refused ours: ${message.reason}`, message.offendingMessage);
    }
    const isGreeting = message && hasExactly(message, ["server_id"]);
    if (!isGreeting) throw new ProtocolError("unknown msg", message);
  }

  #connected({ session }) {
    this.#session = session;
    this.#incoming = new Map();
    for (const { id, isReady } of this.#subscriptions.values()) if (isReady) this.#awaited.add(id);
    for (const invocation of [...this.#invocations.values()])
      if (invocation.hasResult) this.#finish(invocation);
    this.#setStatus({ state: "connected", retryCount: 0 });
    this.#showIncoming();
  }

  /** Ends quiescence when nothing is awaited any more: old documents give way to new ones, in one step. */
  #showIncoming() {
    if (!this.#incoming || this.#awaited.size) return;
    const incoming = this.#incoming;
    this.#incoming = null;
    for (const name of new Set([...this.#collections.keys(), ...incoming.keys()]))
      this.collection(name)._replace(incoming.get(name) ?? new Map());
    for (const callback of this.#deferred.splice(0)) callback();
  }

  #whenShown(callback) {
    if (this.#incoming) this.#deferred.push(callback);
    else callback();
  }

  #data(message) {
    const { collection: name, id } = message;
    if (typeof name !== "string" || typeof id !== "string")
      throw new ProtocolError("no collection or id", message);
    if (!this.#incoming) {
      const collection = this.collection(name);
      return collection._set(id, documentAfter(message, collection._at(id)));
    }
    if (!this.#incoming.has(name)) this.#incoming.set(name, new Map());
    const documents = this.#incoming.get(name);
    const after = documentAfter(message, documents.get(id));
    if (after) documents.set(id, after);
    else documents.delete(id);
  }

  #ready(message) {
    for (const id of message.subs) {
      const subscription = this.#known(this.#subscriptions, id, message);
      subscription.isReady = true;
      this.#awaited.delete(id);
      this.#whenShown(() => subscription._settle());
    }
    this.#showIncoming();
  }

  #nosub(message) {
    const error = message.error && meteorError(message.error);
    if (message.id === undefined) throw error; // a publication to everybody failed
    const subscription = this.#known(this.#subscriptions, message.id, message);
    this.#subscriptions.delete(message.id);
    this.#awaited.delete(message.id);
    const isTold = subscription.isStopped || subscription._end(error);
    this.#showIncoming();
    if (error && !isTold) throw error;
  }

  #result(message) {
    const invocation = this.#known(this.#invocations, message.id, message);
    if (invocation.hasResult) throw new ProtocolError("a second result", message);
    invocation.hasResult = true;
    if (message.error) invocation.result.reject(meteorError(message.error));
    else invocation.result.resolve(decode(message.result));
    if (invocation.hasUpdated) this.#invocations.delete(message.id);
  }

  #updated(message) {
    for (const id of message.methods) {
      const invocation = this.#known(this.#invocations, id, message);
      if (invocation.hasUpdated) throw new ProtocolError("a second updated", message);
      this.#finish(invocation);
    }
  }

  #finish(invocation) {
    invocation.hasUpdated = true;
    if (invocation.hasResult) this.#invocations.delete(invocation.id);
    this.#whenShown(() => invocation.updated.resolve());
  }

  #known(map, id, message) {
    if (!map.has(id)) throw new ProtocolError(`${message.msg} for an id that is not in use (${id})`, message);
    return map.get(id);
  }
}

/**
 * @param {string} [url] of the server's WebSocket endpoint; by default `/websocket` of the page's own host
 * @param {Options} [options]
 * @returns {Client}
 */
export function connect(url = "/websocket", options = {}) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  return new Client(absolute.href, options);
}
