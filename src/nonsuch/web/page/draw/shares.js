// @ts-check
/**
 * Who finds the blocks: each miner's share of the best chain with its 95 % interval, beside its
 * share of the hash rate. A fair network has the mark inside the interval, nineteen times of twenty.
 */

import { html, panel, put, say, svg, sync, table } from "../dom.js";
import { byName, percent, plural } from "../format.js";
import { linear } from "../scale.js";

const SHOWN = 12;
const [WIDTH, HEIGHT] = [120, 18];

/** @param {import("../main.js").Page} page */
export function shares(page) {
  const { box, body } = table("Blocks by miner", [
    "Miner",
    "#Kept",
    "#Share",
    "95 % interval",
    "#Hash rate",
  ]);
  const rest = html("p", { class: "quiet caption" });
  const root = panel("Who finds the blocks", box, rest);

  /** @param {import("../store.js").Changes} changes */
  function draw(changes) {
    if (!changes.any("nodes")) return;
    const all = [...page.store.table("nodes").values()].filter(
      (node) => node.mined || node.share_expected,
    );
    all.sort(
      (left, right) => (right.kept ?? 0) - (left.kept ?? 0) || byName(left.name, right.name),
    );
    const some = all.slice(0, SHOWN);
    const most = Math.max(
      0.05,
      ...some.map((node) => Math.max(node.share_high ?? 0, node.share_expected ?? 0)),
    );
    const x = linear([0, most], [2, WIDTH - 2]);
    sync(
      body,
      some,
      (node) => node.name,
      make,
      (row, node) => update(row, node, x),
    );
    const others = all.length - some.length;
    say(
      rest,
      `Share of the best chain as a dot, the share of all hashing as a bar across.${others > 0 ? ` ${plural(others, "more miner")} not shown.` : ""}`,
    );
  }

  function make() {
    const drawing = svg(
      "svg",
      {
        class: "interval",
        width: WIDTH,
        height: HEIGHT,
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        "aria-hidden": "true",
      },
      svg("path", { class: "ground" }),
      svg("path", { class: "error" }),
      svg("circle", { cy: HEIGHT / 2, r: 4 }),
      svg("path", { class: "expected" }),
    );
    const who = html(
      "th",
      { scope: "row" },
      html("span", { class: "swatch", "aria-hidden": "true" }),
      html("span"),
    );
    return html(
      "tr",
      {},
      who,
      html("td", { class: "number" }),
      html("td", { class: "number" }),
      html("td", {}, drawing),
      html("td", { class: "number" }),
    );
  }

  /** @param {HTMLTableRowElement} row @param {import("../store.js").Row} node @param {(share: number) => number} x */
  function update(row, node, x) {
    const [who, kept, share, chart, expected] = row.cells;
    put(who.children[0], { class: `swatch ${page.colours.of(node.name)}` });
    say(who.children[1], node.name);
    say(kept, `${node.kept ?? 0} of ${node.mined ?? 0}`);
    say(share, node.share == null ? "–" : percent(node.share));
    put(share, {
      title:
        node.share == null ? null : `${percent(node.share_low)} to ${percent(node.share_high)}`,
    });
    say(expected, node.share_expected == null ? "–" : percent(node.share_expected));
    const [ground, error, dot, mark] = /** @type {HTMLCollectionOf<SVGElement>} */ (
      chart.children[0].children
    );
    const middle = HEIGHT / 2;
    put(ground, { d: `M0 ${middle}H${WIDTH}` });
    put(error, {
      d:
        node.share == null
          ? ""
          : `M${x(node.share_low).toFixed(1)} ${middle}H${x(node.share_high).toFixed(1)}`,
      class: `error ${page.colours.of(node.name)}`,
    });
    put(dot, {
      cx: x(node.share ?? 0).toFixed(1),
      class: page.colours.of(node.name),
      visibility: node.share == null ? "hidden" : null,
    });
    put(mark, {
      d: node.share_expected == null ? "" : `M${x(node.share_expected).toFixed(1)} 2V${HEIGHT - 2}`,
    });
  }

  return { root, draw };
}
