/** The client against a scripted server: what it sends, shows and reports. */
import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { MeteorError, ProtocolError } from "./ddp.mjs";
import {
  added,
  changed,
  ready,
  recordErrors,
  RecordingObserver,
  removed,
  ScriptedServer,
} from "./scripted_server.mjs";

function connected(options) {
  const server = new ScriptedServer();
  const client = server.client(options);
  server.accept();
  return { server, client, books: client.collection("book") };
}

/** "pending", or what the promise came to. */
const outcome = (promise) =>
  Promise.race([
    promise.then(
      () => "resolved",
      () => "rejected",
    ),
    turn("pending"),
  ]);

describe("connecting", () => {
  test("the client offers DDP 1 first", () => {
    const { server } = connected();

    assert.deepEqual(server.socket.sent[0], { msg: "connect", version: "1", support: ["1"] });
  });

  test("calls and subscriptions made before go out behind connect, without waiting for an answer", () => {
    const server = new ScriptedServer();
    const client = server.client();
    client.subscribe("AllBooks", 1);
    client.call("rename", "1", new Date(5));
    server.open();

    assert.deepEqual(
      server.socket.sent.map(({ msg, params }) => [msg, params]),
      [
        ["connect", undefined],
        ["method", ["1", { $date: 5 }]],
        ["sub", [1]],
      ],
    );
  });

  test("what a message listener sends while the connection starts is sent once", () => {
    const server = new ScriptedServer();
    const client = server.client();
    client.on("message", ({ message }) => message.msg === "connect" && client.call("early"));
    server.open();

    assert.equal(server.heard("method").length, 1);
  });

  test("a greeting before connected is no error", () => {
    const server = new ScriptedServer();
    const client = server.client();
    const errors = recordErrors(client);
    server.open();
    server.say({ server_id: "0" });

    assert.deepEqual(errors, []);
  });

  test("a server of another version ends the attempts", () => {
    const server = new ScriptedServer();
    const client = server.client();
    server.open();
    server.say({ msg: "failed", version: "2" });

    assert.equal(client.status.state, "failed");
  });

  test("status events tell every step", () => {
    const server = new ScriptedServer();
    const client = server.client();
    const states = [];
    client.on("status", ({ state }) => states.push(state));
    server.accept();
    server.drop();
    client.reconnect();
    client.disconnect();

    assert.deepEqual(states, ["connected", "waiting", "connecting", "offline"]);
  });

  test("an unknown event is refused with the names of the others", () => {
    const { client } = connected();

    assert.throws(() => client.on("ready", () => {}), /connect, status, message, error/);
  });
});

describe("collections", () => {
  test("documents are added, changed field by field, cleared and removed", () => {
    const { server, books } = connected();
    server.say(added("1", { title: "Emma", price: "1.00", at: { $date: 5 } }));
    server.say({ ...changed("1", { title: "Emma!" }), cleared: ["price"] });

    assert.deepEqual({ ...books.get("1") }, { _id: "1", title: "Emma!", at: new Date(5) });
    server.say(removed("1"));
    assert.equal(books.size, 0);
  });

  test("ids are the application's, not the wire's", () => {
    const { server, books } = connected();
    server.say(added("--5", {}), added("~7", {}));

    assert.deepEqual(
      [...books].map(({ _id }) => _id),
      ["-5", 7],
    );
    assert.equal(books.get("-5")._id, "-5");
  });

  test("a change makes a new, frozen document", () => {
    const { server, books } = connected();
    server.say(added("1", { title: "Emma" }));
    const before = books.get("1");
    server.say(changed("1", { title: "Persuasion" }));

    assert.equal(before.title, "Emma");
    assert.ok(Object.isFrozen(books.get("1")));
  });

  test("find gives the documents that satisfy the predicate", () => {
    const { server, books } = connected();
    server.say(added("1", { price: 1 }), added("2", { price: 2 }));

    assert.deepEqual(
      books.find(({ price }) => price > 1).map(({ _id }) => _id),
      ["2"],
    );
    assert.equal(books.find().length, 2);
  });

  test("an observer is told of the documents there, then of every change until it stops", () => {
    const { server, books } = connected();
    const observer = new RecordingObserver();
    server.say(added("1", {}));
    const stop = books.observe(observer);
    server.say(added("2", {}), changed("1", { a: 1 }), removed("2"));
    stop();
    server.say(removed("1"));

    assert.deepEqual(observer.events, ["added 1", "added 2", "changed 1", "removed 2"]);
  });

  test("onChange is called once for many messages, with what is different in the end", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const { server, books } = connected();
    const calls = [];
    server.say(added("1", { a: 1 }), added("2", { a: 1 }));
    context.mock.timers.tick(1);
    books.onChange((changes) =>
      calls.push(changes.map(({ id, before, after }) => [id, before?.a, after?.a])),
    );
    server.say(changed("1", { a: 2 }), changed("1", { a: 3 }), removed("2"), added("3", {}), removed("3"));
    context.mock.timers.tick(1);

    assert.deepEqual(calls, [
      [
        ["1", 1, 3],
        ["2", 1, undefined],
      ],
    ]);
  });
});

describe("subscriptions", () => {
  test("ready resolves when the documents are there", async () => {
    const { server, client, books } = connected();
    const subscription = client.subscribe("AllBooks");
    server.say(added("1", {}));

    assert.equal(await outcome(subscription.ready), "pending");
    server.say(ready(subscription.id));
    await subscription.ready;
    assert.equal(books.size, 1);
  });

  test("a refusal rejects ready and is told to onStop", async () => {
    const { server, client } = connected();
    const subscription = client.subscribe("Nope");
    const told = [];
    subscription.onStop((error) => told.push(error.error));
    server.say({
      msg: "nosub",
      id: subscription.id,
      error: { error: 404, reason: "Subscription not found" },
    });

    await assert.rejects(subscription.ready, new MeteorError(404, "Subscription not found"));
    assert.deepEqual(told, [404]);
  });

  test("a refusal that nobody is told of is an error event", () => {
    const { server, client } = connected();
    const errors = recordErrors(client);
    const subscription = client.subscribe("Nope");
    server.say({ msg: "nosub", id: subscription.id, error: { error: 404 } });

    assert.deepEqual(
      errors.map(({ message }) => message),
      ["[404]"],
    );
  });

  test("stop sends unsub once and runs onStop without an error", () => {
    const { server, client } = connected();
    const subscription = client.subscribe("AllBooks");
    const told = [];
    subscription.onStop((error) => told.push(error));
    subscription.stop();
    subscription.stop();

    assert.deepEqual(server.heard("unsub"), [{ msg: "unsub", id: subscription.id }]);
    assert.deepEqual(told, [undefined]);
  });

  test("a ready that crossed with unsub is no error", () => {
    const { server, client } = connected();
    const errors = recordErrors(client);
    const subscription = client.subscribe("AllBooks");
    subscription.stop();
    server.say(ready(subscription.id), { msg: "nosub", id: subscription.id });

    assert.deepEqual(errors, []);
  });
});

describe("calls", () => {
  test("the promise is the result; updated follows when the writes are here", async () => {
    const { server, client } = connected();
    const call = client.call("add", 1);
    server.say({ msg: "result", id: "1", result: { at: { $date: 5 } } });

    assert.deepEqual(await call, { at: new Date(5) });
    assert.equal(await outcome(call.updated), "pending");
    server.say({ msg: "updated", methods: ["1"] });
    assert.equal(await outcome(call.updated), "resolved");
  });

  test("updated may come before the result", async () => {
    const { server, client } = connected();
    const call = client.call("add");
    server.say({ msg: "updated", methods: ["1"] });

    assert.equal(await outcome(call.updated), "resolved");
    server.say({ msg: "result", id: "1" });
    assert.equal(await call, undefined);
  });

  test("an error of the method rejects with its error, reason and details", async () => {
    const { server, client } = connected();
    const call = client.call("add");
    const details = { title: ["This field cannot be blank."] };
    server.say({ msg: "result", id: "1", error: { error: 400, reason: "Invalid", details } });

    await assert.rejects(call, { name: "MeteorError", error: 400, reason: "Invalid", details });
  });
});

describe("a reconnect", () => {
  test("subscribes again under the same ids and offers the old session", () => {
    const { server, client } = connected();
    const subscription = client.subscribe("AllBooks", 7);
    server.restart(client);

    assert.equal(server.heard("connect")[0].session, "s1");
    assert.deepEqual(server.heard("sub"), [
      { msg: "sub", id: subscription.id, name: "AllBooks", params: [7] },
    ]);
  });

  test("tells connect listeners first: a login is in force before the rest is sent again", () => {
    const { server, client } = connected();
    client.on("connect", () => client.call("login", { resume: "token" }));
    client.subscribe("Own");
    client.call("add");
    server.restart(client);

    const sent = server.socket.sent.map(({ msg, method, name }) => method ?? name ?? msg);
    assert.deepEqual(sent, ["connect", "login", "add", "Own"]);
  });

  test("leaves a stopped subscription behind", () => {
    const { server, client } = connected();
    client.subscribe("AllBooks").stop();
    server.restart(client);

    assert.deepEqual(server.heard("sub"), []);
  });

  test("shows the old documents until every ready subscription is ready again, then what differs", () => {
    const { server, client, books } = connected();
    const [first, second] = [client.subscribe("A"), client.subscribe("B")];
    server.say(added("1", { a: 1 }), added("2", { a: 1 }), added("3", { a: 1 }), ready(first.id, second.id));
    const observer = new RecordingObserver();
    books.observe(observer);
    observer.events = [];
    server.restart(client);
    server.say(added("1", { a: 1 }), added("4", {}), ready(first.id));

    assert.deepEqual(observer.events, []);
    server.say(added("2", { a: 2 }), changed("2", { b: 1 }), ready(second.id));
    assert.deepEqual(observer.events, ["removed 3", "added 4", "changed 2"]);
  });

  test("does not wait for a subscription that is refused now", () => {
    const { server, client, books } = connected();
    const subscription = client.subscribe("A").onStop(() => {});
    server.say(added("1", {}), ready(subscription.id));
    server.restart(client);
    server.say({ msg: "nosub", id: subscription.id, error: { error: 403 } });

    assert.equal(books.size, 0);
  });

  test("does not wait for a subscription that is stopped meanwhile", () => {
    const { server, client, books } = connected();
    const subscription = client.subscribe("A");
    server.say(added("1", {}), ready(subscription.id));
    server.restart(client);
    subscription.stop();

    assert.equal(books.size, 0);
  });

  test("cut short keeps the old documents, also when a subscription is stopped in between", () => {
    const { server, client, books } = connected();
    const [first, second] = [client.subscribe("A"), client.subscribe("B")];
    server.say(added("1", {}), added("2", {}), ready(first.id, second.id));
    server.restart(client);
    server.say(added("1", {}), ready(first.id));
    server.drop();
    second.stop();

    assert.equal(books.size, 2);
    client.reconnect();
    server.accept();
    server.say(added("1", {}), ready(first.id));
    assert.equal(books.size, 1);
  });

  test("holds back ready and updated until their documents are shown", async () => {
    const { server, client } = connected();
    const old = client.subscribe("A");
    server.say(ready(old.id));
    server.restart(client);
    const young = client.subscribe("B");
    const call = client.call("add");
    server.say(ready(young.id), { msg: "updated", methods: ["1"] }, { msg: "result", id: "1" });

    assert.equal(await outcome(young.ready), "pending");
    assert.equal(await outcome(call.updated), "pending");
    server.say(ready(old.id));
    assert.equal(await outcome(young.ready), "resolved");
    assert.equal(await outcome(call.updated), "resolved");
  });

  test("sends an unanswered call again, under its id", async () => {
    const { server, client } = connected();
    const call = client.call("add", 1);
    server.restart(client);

    assert.deepEqual(server.heard("method"), [{ msg: "method", method: "add", params: [1], id: "1" }]);
    server.say({ msg: "result", id: "1", result: 5 }, { msg: "updated", methods: ["1"] });
    assert.equal(await call, 5);
  });

  test("fails an unanswered call that must not run twice", async () => {
    const { server, client } = connected();
    const call = client.apply("pay", [], { noRetry: true });
    server.restart(client);

    await assert.rejects(call, { error: "invocation-failed" });
    assert.deepEqual(server.heard("method"), []);
  });

  test("sends a call made while offline, even one that must not run twice", () => {
    const { server, client } = connected();
    server.drop();
    client.apply("pay", [], { noRetry: true });
    client.reconnect();
    server.accept();

    assert.equal(server.heard("method").length, 1);
  });

  test("does not repeat an answered call; its writes are in the new documents", async () => {
    const { server, client } = connected();
    const call = client.call("add");
    server.say({ msg: "result", id: "1", result: 5 });
    server.restart(client);

    assert.deepEqual(server.heard("method"), []);
    assert.equal(await outcome(call.updated), "resolved");
  });

  test("after disconnect waits for reconnect", () => {
    const { server, client } = connected();
    client.disconnect();
    client.disconnect();

    assert.equal(server.sockets.length, 1);
    client.reconnect();
    assert.equal(server.sockets.length, 2);
  });

  test("is not attempted when a status listener disconnects", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const { server, client } = connected();
    client.on("status", ({ state }) => state === "waiting" && client.disconnect());
    server.drop();
    context.mock.timers.tick(60_000);

    assert.equal(server.sockets.length, 1);
  });
});

describe("time", () => {
  /** A connected client whose clock the test moves. */
  function clocked(context) {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    mock.method(Math, "random", () => 0.5);
    context.after(() => mock.restoreAll());
    return { ...connected(), tick: (milliseconds) => context.mock.timers.tick(milliseconds) };
  }

  test("attempts are made at growing distances, up to a limit", (context) => {
    const { server, tick } = clocked(context);
    const delays = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      server.drop();
      const { length } = server.sockets;
      let delay = 0;
      for (; server.sockets.length === length; delay += 500) tick(500);
      delays.push(delay);
    }

    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  });

  test("a connection that stood starts again at the first delay", (context) => {
    const { server, client, tick } = clocked(context);
    for (let time = 0; time < 3; time++) {
      server.drop();
      tick(500);
      server.accept();
    }

    assert.deepEqual([server.sockets.length, client.status.retryCount], [4, 0]);
  });

  test("an attempt that nobody answers is given up", (context) => {
    const { server, client, tick } = clocked(context);
    server.drop();
    tick(500);
    server.open();
    tick(10_000);

    assert.equal(client.status.state, "waiting");
    assert.match(client.status.reason, /did not answer/);
  });

  test("a ping is answered with its id", () => {
    const { server } = connected();
    server.say({ msg: "ping", id: "x" }, { msg: "ping" });

    assert.deepEqual(server.heard("pong"), [{ msg: "pong", id: "x" }, { msg: "pong" }]);
  });

  test("a silent server is pinged, and any message will do as an answer", (context) => {
    const { server, client, tick } = clocked(context);
    tick(17_500);
    assert.equal(server.heard("ping").length, 1);
    server.say({ msg: "pong" });
    tick(15_000);

    assert.equal(client.status.state, "connected");
  });

  test("a server that does not answer a ping is left", (context) => {
    const { client, tick } = clocked(context);
    tick(17_500);
    tick(15_000);

    assert.equal(client.status.state, "waiting");
  });
});

describe("an illegal message is reported and changes nothing:", () => {
  const illegal = {
    "added twice": [added("1", { a: 2 })],
    "changed before added": [changed("2", { a: 2 })],
    "changed with nothing": [{ msg: "changed", collection: "book", id: "1" }],
    "removed before added": [removed("2")],
    "_id among the fields": [changed("1", { _id: "2" })],
    "a document without id": [{ msg: "added", collection: "book" }],
    "an id that does not parse": [added("~x", {})],
    "an unknown EJSON type": [changed("1", { a: { $type: "nope", $value: 1 } })],
    "ready for nobody": [ready("nobody")],
    "nosub for nobody": [{ msg: "nosub", id: "nobody" }],
    "result for nobody": [{ msg: "result", id: "9" }],
    "updated for nobody": [{ msg: "updated", methods: ["9"] }],
    "updated without methods": [{ msg: "updated" }],
    "an unknown msg": [{ msg: "constructor" }],
    "no msg": [{ foo: 1 }],
    "no object": [null],
    "an error of the server": [{ msg: "error", reason: "Bad request" }],
  };
  for (const [name, messages] of Object.entries(illegal))
    test(name, () => {
      const { server, client, books } = connected();
      const errors = recordErrors(client);
      server.say(added("1", { a: 1 }), ...messages);

      assert.equal(errors.length, 1);
      assert.ok(errors[0] instanceof ProtocolError);
      assert.deepEqual(
        books.find().map((book) => ({ ...book })),
        [{ _id: "1", a: 1 }],
      );
    });

  test("no JSON", () => {
    const { server, client } = connected();
    const errors = recordErrors(client);
    server.socket.onmessage({ data: "{" });

    assert.equal(errors[0].offendingMessage, "{");
  });

  test("a second result", () => {
    const { server, client } = connected();
    const errors = recordErrors(client);
    client.call("add");
    server.say({ msg: "result", id: "1" }, { msg: "result", id: "1" });

    assert.match(errors[0].message, /second result/);
  });

  test("a second updated", () => {
    const { server, client } = connected();
    const errors = recordErrors(client);
    client.call("add");
    server.say({ msg: "updated", methods: ["1"] }, { msg: "updated", methods: ["1"] });

    assert.match(errors[0].message, /second updated/);
  });
});

test("message events show everything on the wire, with its direction", () => {
  const { server, client } = connected();
  const seen = [];
  client.on("message", ({ direction, message, text }) =>
    seen.push([direction, message.msg, JSON.parse(text).msg]),
  );
  client.call("add");
  server.say({ msg: "result", id: "1" });

  assert.deepEqual(seen, [
    ["out", "method", "method"],
    ["in", "result", "result"],
  ]);
});
