// @ts-check
/** The nodes: who is there, in which state, how fast; and, with control, what can be done to each. */

import { mayAct } from "../actions.js";
import { html, keptUnder, put, say, sync } from "../dom.js";
import { byName, plural, speed } from "../format.js";
import { READABLE_SECONDS, paced } from "../frames.js";
import { menu } from "../menu.js";

const FILTER_FROM = 13; // fewer can be seen at once

/** @type {Record<string, string>} a shape for each state, so that colour is not needed */
const MARKS = { up: "●", starting: "◌", frozen: "❄", dead: "✕", cut: "⊘" };

/** @type {import("../main.js").View} */
export function nodes(page, root) {
  const { store, colours } = page;
  const summary = html("span", { class: "quiet" });
  const filter = html("input", {
    type: "search",
    placeholder: "Find a node",
    "aria-label": "Find a node",
    hidden: true,
    input: () => draw({ reset: true, tables: new Map(), any: () => true }, 0),
  });
  const list = html("ul", { class: "nodes" });
  const box = html(
    "div",
    { class: "scroll tall", tabindex: 0, role: "group", "aria-labelledby": "nodes-title" },
    list,
  );
  const open = menu(page);
  const title = html("h2", { id: "nodes-title" }, "Nodes ");
  root.replaceChildren(html("div", { class: "head" }, title, summary, filter), box);

  /** @param {import("../store.js").Row} row */
  function make(row) {
    const button = html(
      "button",
      {
        type: "button",
        class: "plain dots",
        "aria-haspopup": "menu",
        "aria-label": `Actions for ${row.name}`,
      },
      "⋯",
    );
    button.addEventListener("click", () => open(button, row.name));
    return html(
      "li",
      {},
      html("span", { class: "swatch", "aria-hidden": "true" }),
      html(
        "span",
        { class: "who" },
        html("b", {}, row.name),
        " ",
        html("span", { class: "quiet role" }),
      ),
      html("span", { class: "rate" }),
      html("span", { class: "state" }),
      button,
      html("span", { class: "note" }),
    );
  }

  /** @param {HTMLLIElement} item @param {import("../store.js").Row} row */
  function update(item, row) {
    const [swatch, who, fast, state, button, note] = item.children;
    put(item, { class: `node-${row.state}` });
    put(swatch, { class: `swatch ${colours.of(row.name)}` });
    const role = row.role === row.name ? "" : row.role;
    say(who.children[1], [role, slotsOf(row)].filter(Boolean).join(", "));
    say(fast, speed(row) || heightOf(row));
    say(state, `${MARKS[row.state] ?? "?"} ${wordsOf(row)}`);
    put(state, { class: `state state-${row.state}${row.lies ? " lies" : ""}` });
    put(button, { hidden: !mayAct(store.about) });
    say(note, row.note ?? "");
    put(note, { title: row.note ?? null });
  }

  /** @type {import("../main.js").Draw} */
  function draw(changes) {
    if (!changes.any("nodes", "about")) return;
    const table = store.table("nodes");
    filter.hidden = table.size < FILTER_FROM;
    say(summary, count(table));
    const keys = [...(changes.tables.get("nodes") ?? [])];
    // Sorting is for those that come and go; the rest of the time rows are brought up to date.
    if (changes.any("about") || keys.some((key) => !table.has(key) || !keptUnder(list, key))) {
      return sync(list, wanted(table), (row) => row.name, make, update);
    }
    for (const key of keys)
      update(
        /** @type {HTMLLIElement} */ (keptUnder(list, key)),
        /** @type {any} */ (table.get(key)),
      );
  }

  /** @param {ReadonlyMap<string, import("../store.js").Row>} table */
  function wanted(table) {
    const text = filter.value.trim().toLowerCase();
    const rows = [...table.values()].filter((row) =>
      `${row.name} ${row.role} ${row.state}`.includes(text),
    );
    return rows.sort((left, right) => rank(left) - rank(right) || byName(left.name, right.name));
  }

  return paced(page.ask, READABLE_SECONDS, (changes) => draw(changes, 0));
}

/** Its life, and its links where its life does not say. @param {import("../store.js").Row} row */
const wordsOf = (row) =>
  [row.state, row.cut && row.state !== "cut" && "cut", row.lies && "lies"]
    .filter(Boolean)
    .join(", ");

/** @type {Record<string, number>} those that lead come first, and those that ask last */
const RANKS = { pool: 0, coordinator: 0, keeper: 0, client: 2 };

/** @param {import("../store.js").Row} row */
const rank = (row) => RANKS[row.role] ?? 1;

/** @param {import("../store.js").Row} row */
const heightOf = (row) => (row.height ? `height ${row.height}` : "");

/** "8 slots on 4 workers", where there are more than one. @param {import("../store.js").Row} row */
function slotsOf(row) {
  if (row.slots === 1 && !row.workers) return "";
  const on = row.workers ? ` on ${plural(row.workers, "worker")}` : "";
  return row.slots ? `${plural(row.slots, "slot")}${on}` : "no workers";
}

/** @param {ReadonlyMap<string, import("../store.js").Row>} table */
function count(table) {
  /** @type {Map<string, number>} */
  const states = new Map();
  for (const row of table.values()) states.set(row.state, (states.get(row.state) ?? 0) + 1);
  const parts = [...states].map(([state, number]) => `${number} ${state}`);
  return states.size > 1
    ? `${plural(table.size, "node")}: ${parts.join(", ")}`
    : (parts[0] ?? "none yet");
}
