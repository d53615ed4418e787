// @ts-check
/** One menu for all nodes: what can be done to the one it was opened at. */

import { html } from "./dom.js";
import { clamp } from "./scale.js";

/** @type {[string, string, (row: import("./store.js").Row) => boolean][]} */
const ITEMS = [
  ["freeze", "Freeze", (row) => row.state === "up" || row.state === "cut"],
  ["thaw", "Thaw", (row) => row.state === "frozen"],
  ["cut", "Cut from the network", (row) => row.state !== "dead" && !row.cut],
  ["mend", "Mend its links", (row) => row.cut],
  ["lie", "Make it lie", (row) => row.state !== "dead" && !row.lies],
  ["restart", "Restart", () => true],
  ["kill", "Kill", (row) => row.state !== "dead"],
];

/**
 * @param {import("./main.js").Page} page
 * @returns {(button: HTMLElement, name: string) => void}
 */
export function menu({ store, act }) {
  const box = html("div", { class: "menu", role: "menu", popover: "auto" });
  document.body.append(box);
  /** @type {HTMLElement | null} */
  let opener = null;

  /** @param {number} step */
  function move(step) {
    const items = /** @type {HTMLElement[]} */ ([...box.children]);
    const here = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    items[(here + step + items.length) % items.length]?.focus();
  }

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Home: () => /** @type {HTMLElement} */ (box.firstElementChild).focus(),
    End: () => /** @type {HTMLElement} */ (box.lastElementChild).focus(),
    Tab: close,
  };
  box.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  function close() {
    box.hidePopover();
    opener?.focus();
  }

  /** @param {string} name @param {string} verb @param {string} words */
  function item(name, verb, words) {
    const click = () => {
      close();
      act(`/api/nodes/${encodeURIComponent(name)}/${verb}`);
    };
    return html(
      "button",
      { type: "button", role: "menuitem", tabindex: -1, class: verb, click },
      words,
    );
  }

  return (button, name) => {
    const row = store.table("nodes").get(name);
    if (!row) return;
    opener = button;
    box.setAttribute("aria-label", `Actions for ${name}`);
    const fitting = ITEMS.filter(([, , fits]) => fits(row));
    box.replaceChildren(...fitting.map(([verb, words]) => item(name, verb, words)));
    box.showPopover();
    place(box, button);
    move(1);
  };
}

/** Beside its button, and inside the window. @param {HTMLElement} box @param {HTMLElement} button */
function place(box, button) {
  const { right, bottom, top } = button.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const below = bottom + height + 8 <= innerHeight;
  box.style.left = `${clamp(right - width, 8, innerWidth - width - 8)}px`;
  box.style.top = `${below ? bottom + 4 : Math.max(8, top - height - 4)}px`;
}
