/** EJSON and document ids, checked against the vectors that were taken from the reference implementation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { inspect } from "node:util";

import { decode, encode, equals, ObjectID, parseId, randomId, stringifyId } from "./ddp.mjs";

const vectors = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url), "utf8"));
const OID = new ObjectID("0123456789abcdef01234567");

/** The vectors describe values that JSON cannot hold in words. */
const DESCRIBED = {
  NaN,
  "+Inf": Infinity,
  "-Inf": -Infinity,
  undefined,
  "ObjectID 0123456789abcdef01234567": OID,
  "ObjectID(0123456789abcdef01234567)": OID,
  "regex ab+c flags gi": /ab+c/gi,
};

function valueOf(description) {
  if (Object.hasOwn(DESCRIBED, description)) return DESCRIBED[description];
  const [, kind, data] = /^(date ms=|bytes )(.*)$/.exec(description);
  return kind === "bytes " ? new Uint8Array(JSON.parse(data)) : new Date(Number(data));
}

/** How the vectors print a decoded value. */
function printed(value) {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof ObjectID) return `ObjectID { _str: '${value.hex}' }`;
  return inspect(value);
}

describe("encode", () => {
  for (const { input, inputPlainJson, wire } of vectors.ejsonEncode)
    test(`${input ?? inputPlainJson} gives ${wire}`, () => {
      const value = input === undefined ? JSON.parse(inputPlainJson) : valueOf(input);

      assert.equal(JSON.stringify(encode(value)), wire);
    });

  test("undefined leaves an object and is null in an array", () => {
    assert.equal(JSON.stringify(encode({ a: undefined, b: [undefined] })), '{"b":[null]}');
  });
});

describe("decode", () => {
  for (const { wire, js } of vectors.ejsonDecode)
    test(`${wire} gives ${js}`, () => {
      if (js.startsWith("ERROR")) assert.throws(() => decode(JSON.parse(wire)), TypeError);
      else assert.equal(printed(decode(JSON.parse(wire))), js);
    });

  for (const wire of ['{"$binary":5}', '{"$escape":null}', '{"$regexp":"(","$flags":""}'])
    test(`${wire} is refused`, () => {
      assert.throws(() => decode(JSON.parse(wire)));
    });

  test("a key named __proto__ stays a key", () => {
    const value = decode(JSON.parse('{"__proto__":{"a":1}}'));

    assert.deepEqual(Object.keys(value), ["__proto__"]);
  });
});

describe("equals", () => {
  const same = [
    [1, 1],
    [NaN, NaN],
    [0, -0],
    [
      { a: 1, b: [2] },
      { b: [2], a: 1 },
    ],
    [new Date(5), new Date(5)],
    [new Uint8Array([1]), new Uint8Array([1])],
  ];
  for (const [a, b] of same) test(`${inspect(a)} is ${inspect(b)}`, () => assert.ok(equals(a, b)));

  const different = [
    [1, "1"],
    [null, {}],
    [[], {}],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: 1 }, { b: 1 }],
    [new Date(5), new Date(6)],
    [new Date(5), { $date: 5 }],
    [new Uint8Array([1]), [1]],
  ];
  for (const [a, b] of different) test(`${inspect(a)} is not ${inspect(b)}`, () => assert.ok(!equals(a, b)));
});

describe("document ids", () => {
  for (const { id, wire } of vectors.idStringify)
    test(`${inspect(id)} is ${inspect(wire)} on the wire`, () => {
      assert.equal(stringifyId(Object.hasOwn(DESCRIBED, id) ? DESCRIBED[id] : id), wire);
    });

  for (const { wire, js } of vectors.idParse)
    test(`${inspect(wire)} on the wire is ${js}`, () => {
      if (js.startsWith("ERROR")) assert.throws(() => parseId(wire), SyntaxError);
      else assert.equal(printed(parseId(wire)), js);
    });

  test("a random id has 17 unmistakable characters", () => {
    assert.match(randomId(), /^[23456789A-HJ-NP-TWXYZa-km-z]{17}$/);
  });
});
