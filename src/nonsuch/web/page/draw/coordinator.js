// @ts-check
/** A coordinator: its rounds, each a header out and answers in, and the agents that answer. */

import { html, panel, put, say, svg, sync, table } from "../dom.js";
import { byName, count, median, percent, plural, seconds, shortId, speed } from "../format.js";
import { READABLE_SECONDS, paced } from "../frames.js";
import { moment } from "../moment.js";
import { linear, ticks } from "../scale.js";
import { figures, plot } from "./plot.js";
import { node } from "./words.js";

const MARGIN = { top: 10, right: 12, bottom: 24, left: 58 };
const HEIGHT = 170;
const SHOWN = 60;
const LISTED = 40;

/** @typedef {import("../store.js").Row} Row */

/** @type {import("../main.js").View} */
export function coordinator(page, root) {
  const { store } = page;
  const summary = figures(["Round", "Time a round", "Answers", "Stale", "Agents"]);
  const times = roundTimes(page);
  const rounds = roundTable(page);
  const agents = agentTable(page);
  root.append(summary.root, panel("Time to an answer", times.root), rounds.root, agents.root);
  return paced(page.ask, READABLE_SECONDS, (changes) => {
    if (changes.any("rounds", "agents", "nodes")) summarise(store, summary);
    times.draw(changes);
    rounds.draw(changes);
    agents.draw(changes);
  });
}

/** @param {import("../store.js").Store} store */
const sorted = (store) =>
  [...store.table("rounds").values()].sort((left, right) => left.height - right.height);

/** @param {Row} round */
const took = (round) => (round.solved == null ? null : round.solved - round.at);

/** @param {import("../store.js").Store} store @param {import("./plot.js").Figures} tiles */
function summarise(store, tiles) {
  const rounds = sorted(store);
  const solved = rounds.map(took).filter((one) => one != null);
  const { solved: all = 0, answers = 0, stale = 0, refused = 0, agents = 0 } = store.totals("round");
  tiles.set("Round", String(rounds.at(-1)?.height ?? "–"), `${count(all)} solved here`);
  tiles.set(
    "Time a round",
    seconds(median(solved)),
    solved.length < all ? `median of the last ${solved.length}` : "median",
  );
  tiles.set("Answers", count(answers), `${count(refused)} refused`);
  tiles.set(
    "Stale",
    answers ? percent(stale / answers) : "–",
    `${count(stale)} came too late`,
  );
  const names = [...store.table("agents").keys()];
  const known = names.map((name) => store.table("nodes").get(name)).filter((row) => row != null);
  tiles.set("Agents", count(agents), speed(...known));
}

/** A bar a round, in its winner's colour. @param {import("../main.js").Page} page */
function roundTimes(page) {
  const chart = plot(page, { height: HEIGHT, margin: MARGIN });
  const bars = svg("g");
  chart.inner.append(bars);

  /** @param {import("../store.js").Changes} changes */
  function draw(changes) {
    if (!changes.any("rounds") && !chart.resized()) return;
    const rounds = sorted(page.store)
      .filter((round) => took(round) != null)
      .slice(-SHOWN);
    const top =
      Math.max(0.001, ...rounds.map((round) => /** @type {number} */ (took(round)))) * 1.05;
    const x = linear([0, SHOWN], [MARGIN.left + 4, chart.width - MARGIN.right]);
    const y = linear([0, top], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const width = Math.max(2, x(1) - x(0) - 2);
    const list = rounds.map((round, index) => ({ round, index: index + SHOWN - rounds.length }));
    sync(
      bars,
      list,
      ({ round }) => String(round.height),
      () => svg("rect", { rx: 1.5 }),
      (bar, { round, index }) => {
        const up = y(/** @type {number} */ (took(round)));
        put(bar, {
          class: page.colours.of(round.winner),
          x: x(index).toFixed(1),
          width: width.toFixed(1),
          y: up.toFixed(1),
          height: Math.max(1, HEIGHT - MARGIN.bottom - up).toFixed(1),
        });
      },
    );
    chart.left(ticks(0, top, 4), y, seconds);
    const step = Math.max(2, Math.round((50 * SHOWN) / chart.width));
    const marked = list
      .filter((_, index) => (list.length - 1 - index) % step === 0)
      .map(({ index }) => index);
    chart.bottom(
      marked,
      (index) => x(index) + width / 2,
      (index) => String(rounds[index - SHOWN + rounds.length]?.height ?? ""),
    );
    chart.describe(
      `Times of the last ${plural(rounds.length, "round")}, the longest ${seconds(top / 1.05)}, in the colours of the agents that won them.`,
    );
  }

  return { root: chart.root, draw };
}

/** @param {import("../main.js").Page} page */
function roundTable({ store, colours }) {
  const { box, body } = table("Rounds, the newest first", [
    "#Height",
    "Begun",
    "Follows",
    "#Headers out",
    "#Answers in",
    "#Stale",
    "#Refused",
    "Winner",
    "#Took",
    "#Nonce",
    "Hash",
  ]);
  const root = panel("Rounds", box);
  const numbers = new Set([0, 3, 4, 5, 6, 8, 9]);
  const make = () =>
    html(
      "tr",
      {},
      ...Array.from({ length: 11 }, (_, index) =>
        html("td", { class: numbers.has(index) ? "number" : null }),
      ),
    );

  /** @param {HTMLTableRowElement} line @param {Row} round */
  function update(line, round) {
    const texts = [
      round.height,
      moment(round.at, store.about),
      shortId(round.header),
      round.sent,
      round.answers,
      round.stale,
      round.refused,
      null,
      seconds(took(round)),
      round.nonce == null ? "–" : count(round.nonce),
      shortId(round.hash),
    ];
    texts.forEach((text, index) => {
      const cell = line.cells[index];
      if (text !== null) say(cell, String(text ?? "–"));
      else if (cell.textContent !== (round.winner || "waiting"))
        cell.replaceChildren(round.winner ? node(colours, round.winner) : "waiting");
    });
    put(line, { class: round.winner ? null : "open" });
    put(line.cells[6], { class: round.refused ? "number wrong" : "number" });
  }

  return {
    root,
    /** @param {import("../store.js").Changes} changes */
    draw: (changes) => {
      if (changes.any("rounds"))
        sync(
          body,
          sorted(store).slice(-LISTED).reverse(),
          (round) => String(round.height),
          make,
          update,
        );
    },
  };
}

/** @param {import("../main.js").Page} page */
function agentTable({ store, colours }) {
  const { box, body } = table("Agents", [
    "Agent",
    "Address",
    "#Answers",
    "#Accepted",
    "#Stale",
    "#Errors",
    "#Rate",
  ]);
  const note = html("p", { class: "quiet caption" });
  const root = panel("Agents", box, note);
  const heading = /** @type {Element} */ (box.querySelectorAll("th")[1]);
  const make = (/** @type {[string, Row]} */ [name]) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, node(colours, name)),
      ...Array.from({ length: 6 }, (_, index) => html("td", { class: index ? "number" : null })),
    );
  return {
    root,
    /** @param {import("../store.js").Changes} changes */
    draw: (changes) => {
      if (!changes.any("agents", "nodes")) return;
      const rows = [...store.table("agents")].sort(([left], [right]) => byName(left, right));
      // Those whose name is their address need not be told apart by it.
      const hidden = rows.every(([name, agent]) => agent.address === name);
      put(heading, { hidden });
      sync(
        body,
        rows,
        ([name]) => name,
        make,
        (line, [name, agent]) => {
          put(line.children[1], { hidden });
          put(line.children[0].children[0].children[0], { class: `swatch ${colours.of(name)}` });
          const texts = [
            agent.address ?? "–",
            count(agent.answers),
            count(agent.accepted),
            count(agent.stale),
            count(agent.errors),
            speed(store.table("nodes").get(name) ?? {}) || "–",
          ];
          texts.forEach((text, index) => say(line.children[index + 1], text));
          put(line.children[5], { class: agent.errors ? "number wrong" : "number" });
        },
      );
      const errors = rows.reduce((sum, [, agent]) => sum + (agent.errors ?? 0), 0);
      say(note, errors ? `${plural(errors, "error")} so far.` : "No errors so far.");
    },
  };
}
