// @ts-check
/** Hash rates of the last two minutes, one miner upon the other; the many small ones together. */

import { html, put, svg, sync } from "../dom.js";
import { byName, plural, rate } from "../format.js";
import { linear, ticks, timeTicks } from "../scale.js";
import { fillLegend, legend, plot } from "./plot.js";
import { moment } from "../moment.js";

const MARGIN = { top: 10, right: 8, bottom: 26, left: 64 };
const HEIGHT = 200;
const SECONDS = 120;
const SECONDS_LEAST = 20; // shown, though nothing is that old
const APART = 7; // as many as have a colour of their own; the rest is one layer

/** @typedef {{name: string, hue: string, values: Float64Array, last: number}} Layer */

/** @param {import("../main.js").Page} page */
export function rates(page) {
  const chart = plot(page, { height: HEIGHT, margin: MARGIN });
  const layers = svg("g");
  chart.inner.append(layers);
  const names = legend();
  const root = html("div", {}, chart.root, names);
  let drawn = -1;

  /** @param {import("../store.js").Changes} changes */
  function draw(changes) {
    // Rates come once a second and node; with many nodes that is all the time.
    const second = Math.floor(page.store.at);
    const due = changes.any("rates") && (changes.reset || second !== drawn);
    if (!due && !chart.resized()) return;
    drawn = second;
    show(stack(page, second), second);
  }

  /** @param {Layer[]} list @param {number} second */
  function show(list, second) {
    const top = Math.max(1, ...totals(list)) * 1.08;
    const empty = list.length
      ? Math.min(...list.map((layer) => layer.values.findIndex(Boolean)))
      : 0;
    const first = second - SECONDS + Math.min(empty, SECONDS - SECONDS_LEAST);
    const x = linear([first, second - 1], [MARGIN.left, chart.width - MARGIN.right]);
    const y = linear([0, top], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const floor = new Float64Array(SECONDS);
    put(layers, { class: list.length > APART ? null : "apart" }); // thin ones would be all edge
    sync(
      layers,
      list,
      (layer) => layer.name,
      () => svg("path"),
      (path, layer) => {
        put(path, {
          class: `layer ${layer.hue}`,
          d: area(layer.values, floor, second, x, y, first),
        });
      },
    );
    chart.bottom(timeTicks(first, second - 1, chart.width / 130), x, (at) =>
      moment(at, page.store.about),
    );
    chart.left(ticks(0, top, 4), y, rate);
    fillLegend(
      names,
      list.map((layer) => ({
        key: layer.name,
        hue: layer.hue,
        text: `${layer.name} ${rate(layer.last)}`,
      })),
    );
    const sum = list.reduce((total, layer) => total + layer.last, 0);
    chart.describe(
      `Hash rate of the last two minutes, now ${rate(sum)}: ${list.map((layer) => `${layer.name} ${rate(layer.last)}`).join(", ")}.`,
    );
  }

  return { root, draw };
}

/** @param {import("../main.js").Page} page @param {number} second @returns {Layer[]} */
function stack({ store, colours }, second) {
  const all = [...store.table("nodes").keys()].map((name) => {
    const values = new Float64Array(SECONDS);
    for (const row of store.owned("rates", name).values()) {
      const slot = Math.floor(row.at) - second + SECONDS;
      if (slot >= 0 && slot < SECONDS) values[slot] = row.rate;
    }
    return {
      name,
      hue: colours.of(name),
      values,
      last: values[SECONDS - 1] || values[SECONDS - 2],
    };
  });
  const some = all.filter((layer) => layer.values.some(Boolean));
  some.sort((left, right) => byName(left.name, right.name));
  if (some.length <= APART + 1) return some;
  return [...some.slice(0, APART), together(some.slice(APART))];
}

/** @param {Layer[]} layers @returns {Layer} */
function together(layers) {
  const values = Float64Array.from(totals(layers));
  const last = layers.reduce((sum, layer) => sum + layer.last, 0);
  return { name: plural(layers.length, "other"), hue: "hue hue-none", values, last };
}

/** @param {Layer[]} layers */
const totals = (layers) =>
  Array.from({ length: SECONDS }, (_, slot) =>
    layers.reduce((sum, layer) => sum + layer.values[slot], 0),
  );

/**
 * The area of one layer; `floor` rises by it.
 * @param {Float64Array} values @param {Float64Array} floor @param {number} second
 * @param {(at: number) => number} x @param {(rate: number) => number} y @param {number} first
 */
function area(values, floor, second, x, y, first) {
  let up = "";
  let back = "";
  for (let slot = first - second + SECONDS; slot < SECONDS; slot += 1) {
    const left = x(second - SECONDS + slot).toFixed(1);
    back = `L${left} ${y(floor[slot]).toFixed(1)}${back}`;
    floor[slot] += values[slot];
    up += `${up ? "L" : "M"}${left} ${y(floor[slot]).toFixed(1)}`;
  }
  return `${up}${back}Z`;
}
