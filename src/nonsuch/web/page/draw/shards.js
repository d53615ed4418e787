// @ts-check
/**
 * A job's range as a bar: above, what became of each part; below, whose it is. Each state is one
 * path, whatever the number of shards, so that four thousand cost what forty do.
 */

import { html, put, say, svg, sync } from "../dom.js";
import { amount, byName, count, percent, plural, short } from "../format.js";
import { linear, ticks } from "../scale.js";
import { fillLegend, legend, plot } from "./plot.js";

/** @type {Record<string, string>} in the order in which they are painted and listed */
const STATES = {
  done: "done",
  redone: "done a second time",
  audited: "audited",
  leased: "leased",
  returned: "returned",
  failed: "failed an audit",
};

const MARGIN = { top: 4, right: 1, bottom: 20, left: 1 };
const BAR = 34;
const OWNERS = 9;
const NAMED = 12; // miners with leases
const HINT = "Below the range: whose each part is. Point at a part to read about it.";

/**
 * @typedef {{first: number, last: number}} Span of a job; nonces of more than 2^53 are rounded
 *   here, which no drawing can show
 * @typedef {{start: number, stop: number, state: string, node: string}} Shard
 */

/** @param {import("../main.js").Page} page */
export function shards(page) {
  const chart = plot(page, { height: 74, margin: MARGIN });
  const paths = new Map(
    Object.keys(STATES).map((state) => [
      state,
      svg("path", { class: `shards ${state}`, fill: fillOf(state) }),
    ]),
  );
  const free = svg("rect", { class: "shards free", y: MARGIN.top, height: BAR });
  const owners = svg("g");
  const last = svg("text", { "text-anchor": "end", y: 70 });
  chart.inner.append(free, ...paths.values(), owners, svg("text", { y: 70 }, "0"), last);
  const pointed = html("p", { class: "quiet pointed" }, HINT);
  const states = html("ul", { class: "legend states", "aria-label": "The range by state" });
  const who = legend();
  put(who, { "aria-label": "Shards by miner" });
  const root = html("div", {}, chart.root, pointed, states, who);
  /** @type {Shard[]} */
  let rows = [];
  /** @type {Span | undefined} */
  let job;

  chart.drawing.addEventListener("pointermove", (event) => say(pointed, pointedAt(event.offsetX)));
  chart.drawing.addEventListener("pointerleave", () => say(pointed, HINT));

  /** @param {number} x */
  function pointedAt(x) {
    if (!job) return HINT;
    const nonce = Math.floor(job.first + (x / chart.width) * (job.last + 1 - job.first));
    const row = rows.find((one) => one.start <= nonce && nonce < one.stop);
    if (!row) return `${count(nonce)}: free`;
    return `${count(row.start)} to ${count(row.stop - 1)}: ${STATES[row.state] ?? row.state}${row.node ? `, ${row.node}` : ""}`;
  }

  /** @param {import("../store.js").Changes} changes @param {import("../store.js").Row | undefined} current */
  function draw(changes, current) {
    if (!changes.any("shards", "jobs") && !chart.resized()) return;
    job = current && { first: Number(current.first), last: Number(current.last) };
    root.hidden = !job;
    if (!job || !current) return;
    rows = [...page.store.owned("shards", current.job).values()].map((row) => ({
      start: Number(row.start),
      stop: Number(row.stop),
      state: row.state,
      node: row.node,
    }));
    // The server keeps the shards of the latest jobs only.
    if (!rows.length && current.state === "done")
      rows = [{ start: job.first, stop: job.last + 1, state: "done", node: "" }];
    const x = linear([job.first, job.last + 1], [MARGIN.left, chart.width - MARGIN.right]);
    put(free, { x: MARGIN.left, width: chart.width - 2 });
    for (const [state, path] of paths)
      put(path, {
        d: boxes(
          rows.filter((row) => row.state === state),
          x,
          MARGIN.top,
          BAR,
        ),
      });
    drawOwners(rows, x);
    put(last, { x: chart.width - MARGIN.right });
    say(last, count(current.last));
    chart.bottom(labelled(job, chart.width), x, short);
    tell(job, rows);
  }

  /** @param {Shard[]} all @param {(nonce: number) => number} x */
  function drawOwners(all, x) {
    const hues = Map.groupBy(
      all.filter((row) => row.node),
      (row) => page.colours.of(row.node),
    );
    sync(
      owners,
      hues,
      ([hue]) => hue,
      ([hue]) => svg("path", { class: hue }),
      (path, [, mine]) => put(path, { d: boxes(mine, x, MARGIN.top + BAR + 3, OWNERS) }),
    );
  }

  /** @param {Span} current @param {Shard[]} all */
  function tell(current, all) {
    const total = current.last + 1 - current.first;
    const sums = sumBy(all, (row) => row.state);
    const told = [...sums.values()].reduce((sum, one) => sum + one.nonces, 0);
    const items = Object.keys(STATES)
      .filter((state) => sums.has(state))
      .map((state) => ({ state, ...sums.get(state) }));
    const list = told < total ? [...items, { state: "free", nonces: total - told }] : items;
    sync(
      states,
      list,
      (item) => item.state,
      (item) => stateItem(item.state),
      (element, item) => {
        say(element.children[1], STATES[item.state] ?? "free");
        say(
          element.children[2],
          `${amount(item.nonces ?? 0)} (${percent((item.nonces ?? 0) / total)})`,
        );
      },
    );
    const leased = [
      ...sumBy(
        all.filter((row) => row.state === "leased"),
        (row) => row.node,
      ),
    ];
    leased.sort(([left], [right]) => byName(left, right));
    const named = leased
      .slice(0, NAMED)
      .map(([name, sum]) => ({
        key: name,
        hue: page.colours.of(name),
        text: `${name} has ${plural(sum.shards, "shard")}`,
      }));
    const others = leased.slice(NAMED);
    fillLegend(
      who,
      others.length
        ? [...named, { key: "", hue: "", text: `and ${plural(others.length, "more miner")}` }]
        : named,
    );
    chart.describe(
      `The range 0 to ${count(current.last)} of the job: ${list.map((item) => `${STATES[item.state] ?? "free"} ${percent((item.nonces ?? 0) / total)}`).join(", ")}.`,
    );
  }

  return { root, draw };
}

/** @param {string} state */
const fillOf = (state) => (state === "done" ? null : `url(#pattern-${state})`);

/** @param {string} state */
function stateItem(state) {
  const box = svg("rect", {
    class: `shards ${state}`,
    fill: state === "free" ? null : fillOf(state),
    width: 18,
    height: 12,
  });
  return html(
    "li",
    { class: `state-of-${state}` },
    svg("svg", { width: 18, height: 12, "aria-hidden": "true" }, box),
    html("span"),
    html("b"),
  );
}

/** Round nonces that keep clear of the ends, which are written out. @param {Span} job @param {number} width */
function labelled(job, width) {
  const round = ticks(job.first, job.last, Math.max(2, width / 130));
  return round.filter(
    (value) =>
      value > job.first + (job.last - job.first) * (40 / width) &&
      value < job.last * (1 - 130 / width),
  );
}

/**
 * @param {Shard[]} rows @param {(nonce: number) => number} x
 * @param {number} y @param {number} height
 */
function boxes(rows, x, y, height) {
  return rows
    .map((row) => {
      const left = x(row.start);
      const width = Math.max(0.8, x(row.stop) - left); // the thinnest that is still seen
      return `M${left.toFixed(1)} ${y}h${width.toFixed(1)}v${height}h${(-width).toFixed(1)}z`;
    })
    .join("");
}

/**
 * @param {Shard[]} rows @param {(row: Shard) => string} name
 * @returns {Map<string, {nonces: number, shards: number}>}
 */
function sumBy(rows, name) {
  const sums = new Map();
  for (const row of rows) {
    const sum = sums.get(name(row)) ?? { nonces: 0, shards: 0 };
    sum.nonces += row.stop - row.start;
    sum.shards += 1;
    sums.set(name(row), sum);
  }
  return sums;
}
