// @ts-check
/** A network with a chain: its tree, how fast blocks travel, who finds them, what was undone. */

import { mayAct } from "../actions.js";
import { html, panel, sync, table } from "../dom.js";
import { count, median, percent, plural, seconds, shortId } from "../format.js";
import { READABLE_SECONDS, paced } from "../frames.js";
import { moment } from "../moment.js";
import { figures } from "./plot.js";
import { propagation, travelled } from "./propagation.js";
import { shares } from "./shares.js";
import { transaction } from "./transaction.js";
import { tree } from "./tree.js";

/** @type {import("../main.js").View} */
export function chain(page, root) {
  const { store } = page;
  const summary = figures(["Height", "Nodes agree", "Stale blocks", "Half have it", "Nine tenths"]);
  const ask = transaction(page);
  const forest = tree(page);
  const travel = propagation(page);
  const found = shares(page);
  const undone = reorgList(page);
  const listed = blockList(page);
  const pair = html(
    "div",
    { class: "pair" },
    panel("How fast blocks travel", travel.root),
    found.root,
  );
  root.append(ask, summary.root, panel("Block tree", forest.root), pair, undone.root, listed.root);
  const slow = paced(page.ask, READABLE_SECONDS, (changes) => {
    if (changes.any("about")) ask.hidden = !mayAct(store.about) || store.about.network !== "peer";
    if (changes.any("blocks", "nodes")) summarise(store, summary);
    pair.hidden = listed.root.hidden = !store.table("blocks").size;
    travel.draw(changes);
    found.draw(changes);
    undone.draw(changes);
    listed.draw(changes);
  });
  return (changes, elapsed) => {
    slow(changes);
    return forest.draw(changes, elapsed);
  };
}

/** @param {import("../store.js").Store} store @param {import("./plot.js").Figures} tiles */
function summarise(store, tiles) {
  const best = [...store.table("blocks").values()].filter((block) => block.best);
  const height = best.reduce((most, block) => Math.max(most, block.height), 0);
  const { blocks = 0, stale = 0 } = store.totals("block");
  const standing = [...store.table("nodes").values()].filter((node) => node.tip);
  const tips = [...Map.groupBy(standing, (node) => node.tip).values()].map((nodes) => nodes.length);
  tiles.set("Height", String(height), plural(blocks, "block"));
  tiles.set(
    "Nodes agree",
    standing.length ? `${Math.max(...tips)} of ${standing.length}` : "–",
    tips.length > 1 ? `${tips.length} tips` : "one tip",
  );
  tiles.set(
    "Stale blocks",
    blocks ? percent(stale / blocks) : "–",
    `${count(stale)} of ${count(blocks)}`,
  );
  const recent = travelled(store);
  const reached = recent.filter((block) => block.t90 != null);
  tiles.set(
    "Half have it",
    seconds(median(recent.map((block) => block.t50))),
    "after a block is found",
  );
  tiles.set(
    "Nine tenths",
    seconds(median(reached.map((block) => block.t90))),
    `median of ${recent.length}`,
  );
}

/** @param {import("../main.js").Page} page */
function reorgList({ store }) {
  const { box, body } = table("Reorganisations, the newest first", [
    "Time",
    "Node",
    "#Fork at",
    "#Left",
    "#Joined",
    "#New height",
  ]);
  const root = panel("Reorganisations", box);
  return {
    root,
    /** @param {import("../store.js").Changes} changes */
    draw: (changes) => {
      if (!changes.any("reorgs")) return;
      const rows = [...store.table("reorgs")].reverse();
      root.hidden = !rows.length;
      sync(
        body,
        rows,
        ([key]) => key,
        ([, row]) => {
          const numbers = [row.fork_height, row.left, row.joined, row.height].map((value) =>
            html("td", { class: "number" }, String(value)),
          );
          return html(
            "tr",
            {},
            html("td", {}, moment(row.at, store.about)),
            html("td", {}, row.node),
            ...numbers,
          );
        },
      );
    },
  };
}

const LISTED = 25;

/** The tree in words; made only while it is open. @param {import("../main.js").Page} page */
function blockList(page) {
  const { store } = page;
  const { box, body } = table("The newest blocks", [
    "#Height",
    "Block",
    "Parent",
    "Miner",
    "Chain",
    "#Seen by",
    "#Half",
    "#Nine tenths",
  ]);
  const root = html(
    "details",
    { class: "panel", toggle: () => show() },
    html("summary", {}, "The newest blocks as a table"),
    box,
  );

  function show() {
    if (!root.open) return;
    const rows = [...store.table("blocks").values()].sort(
      (left, right) => right.height - left.height || right.at - left.at,
    );
    sync(
      body,
      rows.slice(0, LISTED),
      (block) => block.id,
      () =>
        html(
          "tr",
          {},
          ...Array.from({ length: 8 }, (_, index) =>
            html("td", { class: [0, 5, 6, 7].includes(index) ? "number" : null }),
          ),
        ),
      (row, block) => {
        const texts = [
          block.height,
          shortId(block.id),
          shortId(block.parent),
          block.miner || "–",
          block.best ? "best" : "stale",
          block.seen,
          seconds(block.t50),
          seconds(block.t90),
        ];
        texts.forEach((text, index) => (row.children[index].textContent = String(text)));
      },
    );
  }

  return {
    root,
    draw: (/** @type {import("../store.js").Changes} */ changes) =>
      void (changes.any("blocks") && show()),
  };
}
