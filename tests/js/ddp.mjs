/**
 * The module under test. A browser takes any .js file as a module; Node wants the ending .mjs or a
 * package.json beside it, so its text is imported instead.
 */
import { readFileSync } from "node:fs";

const source = readFileSync(new URL("../../dddp/static/dddp/ddp.js", import.meta.url), "utf8");
const ddp = await import(`data:text/javascript,${encodeURIComponent(source)}`);

export const { connect, decode, encode, equals, parseId, randomId, stringifyId } = ddp;
export const { MeteorError, ObjectID, ProtocolError } = ddp;
