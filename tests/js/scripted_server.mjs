/** The other end of the wire, played by the test: it hands out sockets and says what it is told to say. */
import { afterEach } from "node:test";

import { connect } from "./ddp.mjs";

const clients = [];
// Their timers would keep node running.
afterEach(() => clients.splice(0).forEach((client) => client.disconnect()));

/** A WebSocket that is connected to the test. */
class ScriptedSocket {
  readyState = 0;
  /** What the client has sent over this socket, parsed. */
  sent = [];

  constructor(url) {
    this.url = url;
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
}

export class ScriptedServer {
  /** Every socket that the client has opened, oldest first. */
  sockets = [];

  get socket() {
    return this.sockets.at(-1);
  }
  /** A client of this server; it has opened its first socket, which is not accepted yet. */
  client(options = {}) {
    const { sockets } = this;
    class Socket extends ScriptedSocket {
      constructor(url) {
        super(url);
        sockets.push(this);
      }
    }
    clients.push(connect("ws://server/websocket", { WebSocket: Socket, ...options }));
    return clients.at(-1);
  }
  /** Accepts the waiting socket and answers `connect`. */
  accept(session = "s1") {
    this.open();
    this.say({ msg: "connected", session });
  }
  open() {
    this.socket.readyState = 1;
    this.socket.onopen();
  }
  say(...messages) {
    for (const message of messages) this.socket.onmessage({ data: JSON.stringify(message) });
  }
  /** Cuts the connection, as a restart of the server would. */
  drop(reason = "") {
    this.socket.readyState = 3;
    this.socket.onclose({ code: 1006, reason });
  }
  /** Cuts the connection and accepts the next one that the client opens. */
  restart(client, session = "s2") {
    this.drop();
    client.reconnect();
    this.accept(session);
  }
  /** The messages of one kind that the client has sent over the current socket. */
  heard(kind) {
    return this.socket.sent.filter(({ msg }) => msg === kind);
  }
}

export const added = (id, fields, collection = "book") => ({ msg: "added", collection, id, fields });
export const changed = (id, fields, collection = "book") => ({ msg: "changed", collection, id, fields });
export const removed = (id, collection = "book") => ({ msg: "removed", collection, id });
export const ready = (...subs) => ({ msg: "ready", subs });

/** The callbacks of an observer, which write down what they are told. */
export class RecordingObserver {
  events = [];
  added = ({ _id }) => this.events.push(`added ${_id}`);
  changed = ({ _id }) => this.events.push(`changed ${_id}`);
  removed = ({ _id }) => this.events.push(`removed ${_id}`);
}

/** Everything that the client reported as "error". */
export function recordErrors(client) {
  const errors = [];
  client.on("error", (error) => errors.push(error));
  return errors;
}
