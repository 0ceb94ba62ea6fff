// Short words for the document, and how numbers are written.

export const byId = (id) => document.getElementById(id);

/** A new element; properties are set, children are added. */
export function element(name, properties = {}, ...children) {
  const { role, label, ...others } = properties;
  const node = Object.assign(document.createElement(name), others);
  if (role) node.setAttribute("role", role);
  if (label) node.setAttribute("aria-label", label);
  node.append(...children);
  return node;
}

/** Sets a text where it changes: a screen reader tells what changes. */
export function say(id, text) {
  const node = typeof id === "string" ? byId(id) : id;
  if (node.textContent !== text) node.textContent = text;
}

/** What a canvas shows, in words. */
export function describe(canvas, text) {
  if (canvas.getAttribute("aria-label") !== text) canvas.setAttribute("aria-label", text);
}

export const on = (id, kind, action) => byId(id).addEventListener(kind, action);
export const times = (list) => list.join("\u2009\u00d7\u2009");
export const whole = (x) => x.toLocaleString("en-US");
export const percent = (x) => `${(100 * x).toFixed(0)}\u00a0%`;
export const counted = (x) =>
  x >= 1e6 ? `${(x / 1e6).toFixed(2)} M` : `${(x / 1e3).toFixed(0)} k`;
/** A number with two decimals, or three where it is small. */
export function decimal(x) {
  const digits = Math.abs(x) < 0.1 ? 3 : 2;
  return (x < 0 ? "\u2212" : "") + Math.abs(x).toFixed(digits);
}

/** Fills a select with [value, text] pairs and keeps the choice where it is still there. */
export function fill(select, pairs) {
  const before = select.value;
  if (pairs.map(String).join() === select.dataset.pairs) return;
  select.dataset.pairs = pairs.map(String).join();
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  if (pairs.some(([value]) => String(value) === before)) select.value = before;
}
