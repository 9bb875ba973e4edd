// The few things that every part of the page does to it.

export const find = (selector, parent = document) => parent.querySelector(selector);

// A list's children, in order and by key. A child that stays is not touched, so neither is the cursor in it.
export function arrange(list, keys, make) {
  const present = new Map([...list.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, at) => {
    const child = present.get(key) || make();
    child.dataset.key = key;
    present.delete(key);
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] || null);
  });
  for (const gone of present.values()) gone.remove();
  return [...list.children];
}

// What went wrong, or nothing: then what was told before is gone. What is wrong with a value is in the details, by name.
export function tell(error) {
  const { reason, message, details } = error || {};
  const messages = details instanceof Object ? Object.values(details).flat() : [reason || message || ""];
  find("#mistake").textContent = messages.join(" ");
}
