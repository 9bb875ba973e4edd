// Runs one command of the tests on a driver; the same in Node and in a page.
//
// A driver is a module with connect({ websocket, http, ... }), which resolves once connected, subscribe(name, ...params),
// which resolves once ready, call(name, ...params), documents(), the notes as the client gives them, and connections(),
// how many there have been; login(username, password) where the client can, transport() where there are several.

export async function run(driver, name, args = [], limit = 15000) {
  const command = name === "documents" ? () => driver.documents().map(note) : (driver[name] ?? absent(name));
  try {
    return { value: show(await within(limit, command(...args.map(revive)))) };
  } catch (error) {
    return { error: failure(error) };
  }
}

const absent = (name) => () => {
  throw new Error(`the driver has no ${name}()`);
};

function within(limit, promise) {
  let timer;
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Clients call the id _id or id, and may add keys of their own.
const note = ({ _id, id, text, at, raw }) => ({ id: _id ?? id, text, at, raw });

// Dates and bytes on the way to the tests and back, unlike EJSON: a client that does not decode is found out.
function show(value) {
  if (value instanceof Date) return { date: value.getTime() };
  if (value instanceof Uint8Array) return { bytes: [...value] };
  return mapped(value, show) ?? null;
}

function revive(value) {
  if (value?.date !== undefined) return new Date(value.date);
  if (value?.bytes !== undefined) return Uint8Array.from(value.bytes);
  return mapped(value, revive);
}

function mapped(value, convert) {
  if (Array.isArray(value)) return value.map(convert);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, convert(item)]));
}

function failure(error) {
  const { error: code, reason, details } = error ?? {};
  return code === undefined ? { raised: String(error?.stack ?? error) } : { error: code, reason, details };
}
