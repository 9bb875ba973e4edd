// Notes put together from a client's events, for clients that keep no documents themselves.
const notes = new Map();

export const documents = () => [...notes.values()];
export const clear = () => notes.clear();

export function added({ collection, id, fields }) {
  if (collection === "notes") notes.set(id, { id, ...fields });
}

export function changed({ collection, id, fields, cleared = [] }) {
  if (collection !== "notes") return;
  const note = { ...notes.get(id), ...fields };
  for (const name of cleared) delete note[name];
  notes.set(id, note);
}

export function removed({ collection, id }) {
  if (collection === "notes") notes.delete(id);
}
