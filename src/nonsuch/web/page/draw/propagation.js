// @ts-check
/** How fast blocks travel: for each of the last ones, from half of the nodes to nine tenths. */

import { html, put, say, svg } from "../dom.js";
import { median, seconds } from "../format.js";
import { linear, ticks } from "../scale.js";
import { plot } from "./plot.js";

const MARGIN = { top: 10, right: 12, bottom: 24, left: 58 };
const HEIGHT = 190;
const SHOWN = 60;

/** The last blocks that half of the nodes had, by height.
 * @param {import("../store.js").Store} store */
export const travelled = (store) =>
  [...store.table("blocks").values()]
    .filter((block) => block.t50 != null)
    .sort((left, right) => left.height - right.height)
    .slice(-SHOWN);

/** @param {import("../main.js").Page} page */
export function propagation(page) {
  const chart = plot(page, { height: HEIGHT, margin: MARGIN });
  const spans = svg("path", { class: "spans" });
  const half = svg("path", { class: "points half" });
  const most = svg("path", { class: "points most" });
  chart.inner.append(spans, half, most);
  const caption = html("p", { class: "quiet caption" });
  const key = html(
    "ul",
    { class: "legend", "aria-hidden": "true" },
    html("li", {}, html("i", { class: "dot half" }), "half of the nodes"),
    html("li", {}, html("i", { class: "dot most" }), "nine tenths"),
  );
  const root = html("div", {}, chart.root, key, caption);

  /** @param {import("../store.js").Changes} changes */
  function draw(changes) {
    if (!changes.any("blocks") && !chart.resized()) return;
    const blocks = travelled(page.store);
    const most_ = blocks.filter((block) => block.t90 != null);
    const top = Math.max(1e-4, ...blocks.map((block) => block.t90 ?? block.t50)) * 1.05;
    const x = linear([0, SHOWN - 1], [MARGIN.left + 8, chart.width - MARGIN.right]);
    const y = linear([0, top], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const at = (/** @type {number} */ index) => x(SHOWN - blocks.length + index).toFixed(1);
    const dots = (/** @type {"t50" | "t90"} */ name) =>
      blocks
        .map((block, index) =>
          block[name] == null ? "" : `M${at(index)} ${y(block[name]).toFixed(1)}h0`,
        )
        .join("");
    put(spans, {
      d: blocks
        .map((block, index) =>
          block.t90 == null
            ? ""
            : `M${at(index)} ${y(block.t50).toFixed(1)}V${y(block.t90).toFixed(1)}`,
        )
        .join(""),
    });
    put(half, { d: dots("t50") });
    put(most, { d: dots("t90") });
    chart.left(ticks(0, top, 4), y, seconds);
    const step = Math.max(1, Math.round((60 * SHOWN) / chart.width));
    const marked = blocks
      .map((_, index) => index)
      .filter((index) => (blocks.length - 1 - index) % (step * 2) === 0);
    chart.bottom(
      marked,
      (index) => x(SHOWN - blocks.length + index),
      (index) => String(blocks[index]?.height ?? ""),
    );
    const [middle, ninth] = [
      median(blocks.map((block) => block.t50)),
      median(most_.map((block) => block.t90)),
    ];
    const times = `half of the nodes had it after ${seconds(middle)}, nine tenths after ${seconds(ninth)}`;
    const text =
      blocks.length > 1
        ? `Of the last ${blocks.length} blocks, in the median: ${times}.`
        : blocks.length
          ? `The first block that travelled: ${times}.`
          : "No block has reached half of the nodes yet.";
    say(caption, text);
    chart.describe(text);
  }

  return { root, draw };
}
