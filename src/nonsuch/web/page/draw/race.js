// @ts-check
/** A race: for each transaction its nodes' lanes on one axis of time, and the ledger they agree on. */

import { mayAct } from "../actions.js";
import { html, panel, put, say, svg, sync, table } from "../dom.js";
import { byName, count, plural, seconds, zeroDigits } from "../format.js";
import { moment } from "../moment.js";
import { linear, ticks } from "../scale.js";
import { figures, plot } from "./plot.js";
import { transaction } from "./transaction.js";
import { hash } from "./words.js";

const SHOWN = 6;
const MARGIN = { top: 6, right: 118, bottom: 24, left: 84 };
const LANE = 30;

/** @typedef {import("../store.js").Row} Row */

/** @type {import("../main.js").View} */
export function race(page, root) {
  const { store } = page;
  const ask = transaction(page);
  const summary = figures(["Races", "Last winner", "Its time", "Ledger"]);
  const races = html("div", { class: "races" });
  const ledger = ledgerTable(page);
  root.append(ask, summary.root, panel("Races, the newest first", races), ledger.root);
  /** @type {Map<string, ReturnType<typeof card>>} */
  const cards = new Map();

  return (changes) => {
    if (changes.any("about")) ask.hidden = !mayAct(store.about);
    if (changes.reset) cards.clear();
    if (changes.any("races", "race_totals", "nodes")) {
      const rows = [...store.table("races")].sort(([, left], [, right]) => right.at - left.at);
      summarise(
        page,
        summary,
        rows.map(([, row]) => row),
      );
      for (const key of cards.keys())
        if (!rows.slice(0, SHOWN).some(([name]) => name === key)) cards.delete(key);
      for (const [key] of rows.slice(0, SHOWN)) if (!cards.has(key)) cards.set(key, card(page));
      sync(
        races,
        rows.slice(0, SHOWN),
        ([key]) => key,
        ([key]) => /** @type {any} */ (cards.get(key)).root,
      );
    }
    for (const [key, one] of cards) one.draw(changes, key);
    ledger.draw(changes);
  };
}

/** @param {import("../main.js").Page} page @param {import("./plot.js").Figures} tiles @param {Row[]} rows the newest first */
function summarise({ store }, tiles, rows) {
  const last = rows.find((row) => row.winner);
  const open = rows.filter((row) => !row.winner);
  const { races = 0, entries = 0 } = store.totals("race");
  tiles.set("Races", count(races), `${open.length} under way`);
  tiles.set("Last winner", last?.winner ?? "–", winsOf([...store.table("nodes").values()]));
  const lane = last?.lanes[last.winner];
  tiles.set("Its time", seconds(lane?.seconds ?? spent(lane)), "from start to proof");
  tiles.set("Ledger", plural(entries, "entry", "entries"));
}

/** @param {Row[]} nodes */
const winsOf = (nodes) =>
  nodes
    .filter((node) => node.kept)
    .sort((left, right) => byName(left.name, right.name))
    .map((node) => `${node.name} ${count(node.kept)}`)
    .join(", ");

/** @param {Row | undefined} lane */
const spent = (lane) =>
  lane?.completed != null && lane.started != null ? lane.completed - lane.started : null;

/** One transaction's race. @param {import("../main.js").Page} page */
function card(page) {
  const { store, colours } = page;
  const title = html("h3");
  const result = html("p", { class: "result-line" });
  const chart = plot(page, { height: MARGIN.top + 3 * LANE + MARGIN.bottom, margin: MARGIN });
  const lanes = svg("g");
  chart.inner.append(lanes);
  const times = table("Times of this race", [
    "Node",
    "State",
    "Received",
    "Started",
    "Completed",
    "#Took",
  ]);
  const root = html(
    "article",
    { class: "race" },
    title,
    result,
    chart.root,
    html("details", {}, html("summary", {}, "Times to the microsecond"), times.box),
  );

  /** @param {import("../store.js").Changes} changes @param {string} key */
  function draw(changes, key) {
    const row = store.table("races").get(key);
    const changed =
      changes.reset ||
      changes.tables.get("races")?.has(key) ||
      chart.resized() ||
      !title.textContent;
    if (!row || !changed) return;
    say(title, row.k > 1 ? `“${row.text}” (time ${row.k})` : `“${row.text}”`);
    showResult(row);
    const list = Object.entries(row.lanes).sort(([left], [right]) => byName(left, right));
    show(row, list);
    sync(
      times.body,
      list,
      ([name]) => name,
      () =>
        html(
          "tr",
          {},
          ...Array.from({ length: 6 }, (_, index) =>
            html("td", { class: index === 5 ? "number" : null }),
          ),
        ),
      (line, [name, lane]) => {
        const texts = [
          name,
          wordsOf(lane.state),
          ...[lane.received, lane.started, lane.completed].map((at) => moment(at, store.about, 6)),
          seconds(lane.seconds ?? spent(lane)),
        ];
        texts.forEach((text, index) => say(line.children[index], text));
      },
    );
  }

  /** @param {Row} row */
  function showResult(row) {
    if (!row.winner) return result.replaceChildren("Under way.");
    result.replaceChildren(
      html("b", {}, `★ ${row.winner} won`),
      row.nonce == null ? "" : ` with nonce ${count(row.nonce)} `,
      row.hash ? hash(row.hash) : "",
    );
  }

  /** @param {Row} row @param {[string, Row][]} list */
  function show(row, list) {
    const all = list.flatMap(([, lane]) =>
      [lane.received, lane.started, lane.completed].filter((at) => at != null),
    );
    const start = Math.min(row.at, ...all);
    const span = Math.max(1e-4, Math.max(start, ...all, ...(row.winner ? [] : [store.at])) - start);
    const x = linear([0, span], [MARGIN.left, chart.width - MARGIN.right]);
    const height = MARGIN.top + list.length * LANE + MARGIN.bottom;
    put(chart.drawing, { height, viewBox: `0 0 ${chart.width} ${height}` });
    chart.bottom(ticks(0, span, Math.max(2, (chart.width - 200) / 110)), x, seconds);
    put(/** @type {Element} */ (chart.drawing.firstElementChild), {
      transform: `translate(0 ${(list.length - 3) * LANE})`,
    });
    sync(
      lanes,
      list.map(([name, lane], index) => ({ name, lane, index })),
      (item) => item.name,
      () =>
        svg(
          "g",
          {},
          svg("text", { class: "name", x: MARGIN.left - 10, "text-anchor": "end" }),
          svg("path", { class: "waited" }),
          svg("path", { class: "searched" }),
          svg("path", { class: "ends" }),
          svg("text", { class: "end" }),
        ),
      (group, { name, lane, index }) => {
        const middle = MARGIN.top + index * LANE + LANE / 2;
        const at = (/** @type {number | null} */ moment_) =>
          moment_ == null ? null : x(moment_ - start);
        const [received, started, completed] = [
          at(lane.received),
          at(lane.started),
          at(lane.completed),
        ];
        const stop = completed ?? x(span);
        put(group, { class: `lane ${lane.state} ${colours.of(name)}` });
        const [label, waited, searched, ends, end] = group.children;
        say(label, name);
        put(label, { y: middle, dy: "0.35em" });
        put(waited, {
          d:
            received == null
              ? ""
              : `M${received.toFixed(1)} ${middle}H${(started ?? stop).toFixed(1)}`,
        });
        put(searched, {
          d:
            started == null
              ? ""
              : `M${started.toFixed(1)} ${middle}H${Math.max(started + 1, stop).toFixed(1)}`,
        });
        put(ends, {
          d: [received, started, completed]
            .map((place) => (place == null ? "" : `M${place.toFixed(1)} ${middle - 8}v16`))
            .join(""),
        });
        say(
          end,
          `${lane.state === "won" ? "★ " : ""}${wordsOf(lane.state)}${lane.completed == null ? "" : ` ${seconds(lane.seconds ?? spent(lane))}`}`,
        );
        put(end, { x: (stop + 8).toFixed(1), y: middle, dy: "0.35em" });
      },
    );
    chart.describe(
      `Lanes of ${list.map(([name, lane]) => `${name}: ${wordsOf(lane.state)}${lane.completed == null ? "" : ` after ${seconds(lane.seconds ?? spent(lane))}`}`).join("; ")}.`,
    );
  }

  return { root, draw };
}

/** @type {Record<string, string>} */
const STATES = {
  waiting: "waits",
  searching: "searches",
  won: "won",
  lost: "lost",
  stopped: "stopped",
};

/** @param {string} state */
const wordsOf = (state) => STATES[state] ?? state;

/** The ledger's columns are those of its file. @param {import("../main.js").Page} page */
function ledgerTable({ store }) {
  const box = html("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Ledger" });
  const root = panel("Ledger", box);
  let columns = "";
  /** @type {HTMLElement | undefined} */
  let body;

  /** @param {Row[]} rows */
  function head(rows) {
    const names = Object.keys(rows[0] ?? {});
    if (names.join(" ") === columns && body) return names;
    columns = names.join(" ");
    const made = table(
      "Ledger, the newest first",
      names.map((name) => `${NUMBERS.has(name) ? "#" : ""}${name.replaceAll("_", " ")}`),
    );
    body = made.body;
    box.replaceChildren(/** @type {Element} */ (made.box.firstElementChild));
    return names;
  }

  return {
    root,
    /** @param {import("../store.js").Changes} changes */
    draw: (changes) => {
      if (!changes.any("ledger")) return;
      const rows = [...store.table("ledger")].reverse();
      root.hidden = !rows.length;
      const names = head(rows.map(([, row]) => row));
      if (body)
        sync(
          body,
          rows,
          ([key]) => key,
          ([, row]) =>
            html(
              "tr",
              {},
              ...names.map((name) => cellOf(name, row[name])),
            ),
        );
    },
  };
}

const NUMBERS = new Set(["nonce", "time_taken"]);

/** What people compare of each; all of it where they point. @type {Record<string, (value: any) => string>} */
const WORDS = {
  nonce: count,
  hash: (digits) => `${String(digits).slice(0, Math.max(10, zeroDigits(String(digits)) + 6))}…`,
  time_taken: seconds,
  start_time: timeWithin,
  end_time: timeWithin,
};

/** "2026-09-21 14:13:20.000900" -> "14:13:20.000". @param {unknown} text */
function timeWithin(text) {
  return /(\d\d:\d\d:\d\d\.\d{3})\d*$/.exec(String(text))?.[1] ?? String(text);
}

/** @param {string} name of the column @param {unknown} value */
function cellOf(name, value) {
  if (value == null) return html("td", {}, "–");
  const whole = typeof value === "object" ? JSON.stringify(value) : String(value);
  const kind = name === "transaction_data" ? "wide" : NUMBERS.has(name) ? "number" : null;
  return html("td", { class: kind, title: whole }, WORDS[name]?.(value) ?? whole);
}
