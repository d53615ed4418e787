// @ts-check
/**
 * Elements made and kept. Nothing is rebuilt: a list is brought into line by key, and an
 * attribute is written only where it differs, so a browser lays out what really changed.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Record<string, string | number | boolean | null | undefined
 *   | ((event: any) => void)>} Attributes
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function html(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  put(element, attributes);
  element.append(...children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {(Node | string)[]} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  put(element, attributes);
  element.append(...children);
  return element;
}

/** Attributes by name: a function listens, true is empty, null and false take away.
 * @param {Element} element @param {Attributes} attributes */
export function put(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value == null || value === false) element.removeAttribute(name);
    else {
      const text = value === true ? "" : String(value);
      if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    }
  }
}

/** @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @type {WeakMap<Element, Map<string, Element>>} */
const kept = new WeakMap();

/**
 * Bring the children of `parent` into line with `items`, by key, in order.
 * @template I
 * @template {Element} E
 * @param {Element} parent @param {Iterable<I>} items @param {(item: I) => string} key
 * @param {(item: I) => E} make @param {(element: E, item: I) => void} [update]
 */
export function sync(parent, items, key, make, update) {
  const list = [...items].map((item) => /** @type {const} */ ([key(item), item]));
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  const wanted = new Set(list.map(([name]) => name));
  for (const [name, element] of before) if (!wanted.has(name)) element.remove();
  let next = parent.firstElementChild;
  for (const [name, item] of list) {
    const element = before.get(name) ?? make(item);
    after.set(name, element);
    if (element === next) next = /** @type {Element} */ (next).nextElementSibling;
    else parent.insertBefore(element, next);
    update?.(element, item);
  }
  kept.set(parent, after);
}

/** The element that `sync` keeps under a key. @param {Element} parent @param {string} key */
export const keptUnder = (parent, key) => kept.get(parent)?.get(key);

/** A section with a heading. @param {string} title @param {(Node | string)[]} children */
export function panel(title, ...children) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  const heading = html("h2", { id }, title);
  return html("section", { class: "panel", "aria-labelledby": id }, heading, ...children);
}

/** What to say where there is nothing yet. @param {string} text */
export const empty = (text) => html("p", { class: "empty" }, text);

/**
 * A table that scrolls by itself where it is too wide, and can be scrolled by keyboard.
 * @param {string} caption for those who do not see it @param {string[]} heads a "#" before a
 *   head means numbers
 */
export function table(caption, heads) {
  const cells = heads.map((head) =>
    html(
      "th",
      { scope: "col", class: head.startsWith("#") ? "number" : null },
      head.replace("#", ""),
    ),
  );
  const body = html("tbody");
  const whole = html("table", {}, html("caption", { class: "unseen" }, caption));
  whole.append(html("thead", {}, html("tr", {}, ...cells)), body);
  const box = html(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    whole,
  );
  return { box, body };
}
