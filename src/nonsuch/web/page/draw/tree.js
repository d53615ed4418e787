// @ts-check
/**
 * The block tree. Only the heights in sight are in the document; a block keeps its element, and
 * moves to its new lane when the best chain changes. Pan and zoom by pointer, wheel or keyboard;
 * it follows the tip until it is moved away.
 */

import { html, put, say, svg, sync } from "../dom.js";
import { badge, byName, plural, seconds, shortId } from "../format.js";
import { motion } from "../frames.js";
import { moment } from "../moment.js";
import { approach, clamp, niceStep } from "../scale.js";
import { steer } from "./steering.js";
import { layOut } from "./tree_layout.js";

const HEIGHT = 270;
const MIDDLE = 118; // of the best chain: above it are flags, below it names and heights
const LANE = 56;
const SIZE = 22; // of a block, where there is room
const BADGE_FROM = 17; // a block that holds a number
const TIP = 96; // from the tip to the right edge
const CELL = { least: 15, first: 46, most: 130 }; // from block to block
const IDS_FROM = 44; // a cell as wide as an id
const DRAWN_MAX = 140; // heights
const PENNANTS_MAX = 12; // nodes that each get a flag of their own

/** @typedef {import("../store.js").Row} Block */

/** @param {import("../main.js").Page} page */
export function tree(page) {
  const { store, colours } = page;
  const [rules, links, blocks, flags] = [
    svg("g", { class: "heights" }),
    svg("g"),
    svg("g"),
    svg("g"),
  ];
  const camera = svg("g", {}, rules, links, blocks, flags);
  const drawing = svg("svg", { class: "tree", height: HEIGHT, "aria-hidden": "true" }, camera);
  const detail = html("p", { class: "detail", role: "status" });
  const follow = html(
    "button",
    { type: "button", "aria-pressed": "true", click: () => look(null) },
    "Follow the tip",
  );
  const tools = html(
    "div",
    { class: "tools" },
    html(
      "button",
      { type: "button", class: "plain", "aria-label": "Smaller", click: () => zoom(1 / 1.4) },
      "−",
    ),
    html(
      "button",
      { type: "button", class: "plain", "aria-label": "Larger", click: () => zoom(1.4) },
      "+",
    ),
    follow,
  );
  const stage = html(
    "div",
    {
      class: "stage",
      tabindex: 0,
      role: "group",
      "aria-label":
        "Block tree. Left and right go along the chain, up and down to other branches, plus and minus zoom, End follows the tip.",
    },
    drawing,
  );
  const root = html("div", { class: "tree-box" }, tools, stage, detail);

  /** @type {Map<string, number>} */
  let lanes = new Map();
  /** @type {Map<number, Block[]>} */
  let byHeight = new Map();
  /** @type {Map<string, number>} lanes as they are drawn now, on their way */
  const drawnLane = new Map();
  /** @type {Map<string, {height: number, lane: number, right: number, up: number}>} */
  const drawnFlag = new Map();
  /** @type {{key: string, block: Block, slot: number, hue: string, text: string}[]} */
  let tips = [];
  let top = 0; // the greatest height
  let looked = /** @type {number | null} */ (null); // the height at the tip's place; null follows
  let [here, cell, wanted] = [0, CELL.first, CELL.first];
  let origin = 0;
  let [width, wide] = [800, true];
  let selected = "";
  let lane = LANE;

  const x = (/** @type {number} */ height) => (height - origin) * cell;
  const side = () => Math.min(SIZE, cell * 0.75);
  const y = (/** @type {number} */ of) => MIDDLE + of * lane;

  /** @param {number | null} height */
  function look(height) {
    looked = height === null || height >= top ? null : Math.max(0, height);
    put(follow, { "aria-pressed": String(looked === null) });
    page.ask();
  }

  /** @param {number} factor */
  function zoom(factor) {
    wanted = clamp(wanted * factor, CELL.least, CELL.most);
    page.ask();
  }

  /** @param {import("../store.js").Changes} changes */
  function arrange(changes) {
    if (changes.reset) {
      drawnLane.clear();
      drawnFlag.clear();
      here = -1;
    }
    const rows = store.table("blocks");
    lanes = layOut(rows.values(), lanes);
    byHeight = new Map();
    top = 0;
    for (const row of rows.values()) {
      const same = byHeight.get(row.height);
      if (same) same.push(row);
      else byHeight.set(row.height, [row]);
      top = Math.max(top, row.height);
    }
    for (const id of drawnLane.keys()) if (!rows.has(id)) drawnLane.delete(id);
    if (here < 0) here = top;
  }

  /** @returns {[number, number]} the heights in sight */
  function sight() {
    const last = Math.ceil(here + TIP / cell) + 1;
    return [Math.max(last - DRAWN_MAX, Math.floor(here - (width - TIP) / cell) - 1), last];
  }

  /** @returns {Block[]} */
  function inSight() {
    const [first, last] = sight();
    const seen = [];
    for (let height = first; height <= last; height += 1)
      seen.push(...(byHeight.get(height) ?? []));
    return seen;
  }

  /** Elements for what is in sight. @param {Block[]} seen */
  function populate(seen) {
    // Whole thousands from the camera: coordinates stay small enough for a drawing's floats.
    origin = Math.round(here / 1000) * 1000;
    for (const block of seen) if (!drawnLane.has(block.id)) drawnLane.set(block.id, startOf(block));
    const used = seen.map((block) => lanes.get(block.id) ?? 0);
    const above = (MIDDLE - SIZE) / Math.max(1, -Math.min(0, ...used));
    lane = Math.min(LANE, above, (HEIGHT - MIDDLE - 2 * SIZE) / Math.max(1, ...used));
    sync(
      links,
      seen.filter((block) => block.parent),
      (block) => block.id,
      () => svg("path"),
      (path, block) => put(path, { class: block.best ? "link best" : "link" }),
    );
    sync(blocks, seen, (block) => block.id, make, update);
    const step = Math.max(1, niceStep(60 / cell));
    const [first, last] = sight();
    const marked = [];
    for (
      let height = Math.ceil(Math.max(0, first) / step) * step;
      byHeight.size && height <= Math.min(last, top);
      height += step
    )
      marked.push(height);
    sync(
      rules,
      marked,
      String,
      () => svg("text", { "text-anchor": "middle", y: HEIGHT - 6 }),
      (text, height) => say(text, String(height)),
    );
  }

  /** A block begins where its parent is. @param {Block} block */
  const startOf = (block) =>
    (motion() ? drawnLane.get(block.parent) : undefined) ?? lanes.get(block.id) ?? 0;

  /** @param {Block} block */
  function make(block) {
    const box = svg("rect", { rx: 5 });
    const label = svg("text", { class: "badge", dy: "0.35em" });
    const id = svg("text", { class: "id", y: SIZE / 2 + 12 }, shortId(block.id));
    const group = svg("g", {}, box, label, id);
    group.addEventListener("click", () => select(block.id));
    return group;
  }

  /** @param {SVGGElement} group @param {Block} block */
  function update(group, block) {
    const chosen = block.id === selected ? " selected" : "";
    put(group, { class: `block ${colours.of(block.miner)}${block.best ? "" : " stale"}${chosen}` });
    const size = side();
    put(group.children[0], { x: -size / 2, y: -size / 2, width: size, height: size });
    say(group.children[1], block.miner ? badge(block.miner) : "");
    put(group.children[1], { visibility: size < BADGE_FROM ? "hidden" : null });
    put(group.children[2], { visibility: cell >= IDS_FROM ? null : "hidden" });
  }

  /** Where the nodes stand: one flag each, or one a block where they are many. */
  function flag() {
    const rows = [...store.table("nodes").values()].filter(
      (node) => node.tip && store.table("blocks").has(node.tip),
    );
    const at = Map.groupBy(
      rows.sort((left, right) => byName(left.name, right.name)),
      (node) => node.tip,
    );
    tips = [...at].flatMap(([tip, nodes]) => {
      const block = /** @type {Block} */ (store.table("blocks").get(tip));
      if (rows.length > PENNANTS_MAX)
        return [{ key: tip, block, slot: -1, hue: "many", text: String(nodes.length) }];
      return nodes.map((node, slot) => ({
        key: node.name,
        block,
        slot,
        hue: colours.of(node.name),
        text: badge(node.name),
      }));
    });
    const keys = new Set(tips.map((tip) => tip.key));
    for (const key of drawnFlag.keys()) if (!keys.has(key)) drawnFlag.delete(key);
    sync(
      flags,
      tips,
      (tip) => tip.key,
      makeFlag,
      (group, tip) => {
        put(group, { class: `flag ${tip.hue}` });
        say(/** @type {Element} */ (group.lastChild), tip.text);
        const width = Math.max(15, 6 + 7 * tip.text.length);
        put(group.children[1], { x: -width / 2, width });
      },
    );
  }

  /** @param {(typeof tips)[number]} tip */
  function makeFlag(tip) {
    return svg(
      "g",
      {},
      svg("path", { class: "pole", d: tip.slot < 0 ? `M0 ${-SIZE / 2 - 1}V-19` : "" }),
      svg("rect", { y: -33, height: 14, rx: 3 }),
      svg("text", { y: -26, dy: "0.35em" }),
    );
  }

  /** One step of all that is on its way. @param {number} elapsed */
  function move(elapsed) {
    const time = motion() ? elapsed : Infinity;
    let moving = false;
    /** @param {number} from @param {number} to @param {number} close */
    const go = (from, to, close) => {
      const next = approach(from, to, time, close);
      moving ||= next !== to;
      return next;
    };
    const cellBefore = cell;
    here = go(here, looked ?? top, 0.01);
    cell = go(cell, wanted, 0.05);
    const changed = new Set();
    for (const block of current) {
      const from = drawnLane.get(block.id) ?? 0;
      const to = go(from, lanes.get(block.id) ?? 0, 0.01);
      if (from !== to) changed.add(block.id);
      drawnLane.set(block.id, to);
    }
    for (const tip of tips) {
      const goal = {
        height: tip.block.height,
        lane: lanes.get(tip.block.id) ?? 0,
        ...seat(tip.slot),
      };
      const from = drawnFlag.get(tip.key) ?? goal;
      drawnFlag.set(tip.key, {
        height: go(from.height, goal.height, 0.01),
        lane: go(from.lane, goal.lane, 0.01),
        right: go(from.right, goal.right, 0.3),
        up: go(from.up, goal.up, 0.3),
      });
    }
    return { moving, changed, all: cell !== cellBefore };
  }

  /** @param {Set<string>} changed @param {boolean} all */
  function place(changed, all) {
    put(camera, { transform: `translate(${(width - TIP - x(here)).toFixed(2)} 0)` });
    current.forEach((block, index) => {
      if (!all && !changed.has(block.id) && !changed.has(block.parent)) return;
      const own = y(drawnLane.get(block.id) ?? 0);
      put(blocks.children[index], {
        transform: `translate(${x(block.height).toFixed(1)} ${own.toFixed(1)})`,
      });
      const path = linkOf.get(block.id);
      if (path) put(path, { d: curve(block, own) });
    });
    if (all)
      for (const text of rules.children) put(text, { x: x(Number(text.textContent)).toFixed(1) });
    tips.forEach((tip, index) => {
      const spot = drawnFlag.get(tip.key);
      if (!spot) return;
      const [left, high] = [x(spot.height) + spot.right, y(spot.lane) - spot.up];
      put(flags.children[index], { transform: `translate(${left.toFixed(1)} ${high.toFixed(1)})` });
    });
  }

  /** From a block back to its parent; a stub where the parent is no longer kept.
   * @param {Block} block @param {number} own */
  function curve(block, own) {
    const right = x(block.height);
    const parent = store.table("blocks").get(block.parent);
    if (!parent) return `M${(right - side() / 2).toFixed(1)} ${own.toFixed(1)}h-8`;
    const left = x(parent.height);
    const from = y(drawnLane.get(parent.id) ?? lanes.get(parent.id) ?? 0);
    const middle = (left + right) / 2;
    return `M${left.toFixed(1)} ${from.toFixed(1)}C${middle.toFixed(1)} ${from.toFixed(1)} ${middle.toFixed(1)} ${own.toFixed(1)} ${right.toFixed(1)} ${own.toFixed(1)}`;
  }

  /** @param {string} id */
  function select(id) {
    selected = id;
    const block = store.table("blocks").get(id);
    if (block && (block.height > here + 1 || block.height < here - (width - TIP - 40) / cell))
      look(block.height);
    stale = true;
    page.ask();
  }

  function describe() {
    const block = store.table("blocks").get(selected);
    if (block) say(detail, wordsOf(block, store.about));
    else if (!byHeight.size) say(detail, "No block yet.");
    else {
      const what = tips[0]?.slot === -1 ? "how many nodes stand" : "which nodes stand";
      say(
        detail,
        `Flags show ${what} at a block. Click a block, or use the arrow keys, to read about it.`,
      );
    }
  }

  /** Along the chain, or to another branch at the same height. @param {number} along @param {number} across */
  function step(along, across) {
    const block =
      store.table("blocks").get(selected) ??
      byHeight.get(top)?.find((one) => one.best) ??
      byHeight.get(top)?.[0];
    if (!block) return;
    if (!selected) return select(block.id);
    const beside = (byHeight.get(block.height + along) ?? []).toSorted(
      (left, right) => (lanes.get(left.id) ?? 0) - (lanes.get(right.id) ?? 0),
    );
    const next =
      along < 0
        ? beside.find((one) => one.id === block.parent)
        : along > 0
          ? (beside.find((one) => one.parent === block.id && one.best) ??
            beside.find((one) => one.parent === block.id))
          : beside[beside.indexOf(block) + across];
    if (next) select(next.id);
  }

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => step(-1, 0),
    ArrowRight: () => step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    Home: () => look(Math.min(...byHeight.keys())),
    End: () => look(null),
    PageUp: () => look(here - (width - TIP) / cell),
    PageDown: () => look(here + (width - TIP) / cell),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    Escape: () => select(""),
  };
  steer(stage, {
    keys,
    zoom,
    pan: (pixels) => look((looked ?? top) + pixels / cell),
    drag: (pixels) => {
      here = clamp(here - pixels / cell, 0, top);
      look(here);
    },
  });
  new ResizeObserver(([entry]) => {
    width = entry.contentRect.width || width;
    wide = true;
    page.ask();
  }).observe(stage);

  /** @type {Block[]} */
  let current = [];
  /** @type {Map<string, Element>} */
  let linkOf = new Map();
  let range = "";
  let stale = true;

  /** @type {import("../main.js").Draw} */
  function draw(changes, elapsed) {
    const other = changes.any("blocks");
    if (other) arrange(changes);
    if (changes.any("blocks", "nodes")) flag();
    const { moving, changed, all } = move(elapsed);
    const seen = `${sight()} ${cell >= IDS_FROM} ${side()}`;
    const populated = other || stale || wide || seen !== range || changes.any("nodes");
    if (populated) {
      current = inSight();
      populate(current);
      linkOf = new Map(
        current
          .filter((block) => block.parent)
          .map((block, index) => [block.id, links.children[index]]),
      );
    }
    if (populated || stale) describe();
    [range, stale, wide] = [seen, false, false];
    place(changed, all || populated);
    return moving;
  }

  return { root, draw };
}

/** Where a flag is, beside its block's middle: four in a row, rows upwards. @param {number} slot */
const seat = (slot) =>
  slot < 0 ? { right: 0, up: 0 } : { right: (slot % 4) * 17, up: Math.floor(slot / 4) * 16 };

/** All that is known of a block. @param {Block} block @param {import("../store.js").Row} about */
function wordsOf(block, about) {
  const ninth = block.t90 == null ? "" : `, nine tenths after ${seconds(block.t90)}`;
  const spread =
    block.t50 == null ? "" : ` Half of the nodes had it after ${seconds(block.t50)}${ninth}.`;
  const chain = block.best ? "on the best chain" : "stale";
  const who = block.miner ? ` by ${block.miner}` : "";
  const data = block.data ? ` It says “${block.data}”.` : "";
  const known = `known to ${plural(block.seen ?? 0, "node")}`;
  return `Height ${block.height}, ${chain}: ${block.id}, mined${who} at ${moment(block.at, about, 3)}, ${known}.${spread}${data}`;
}
