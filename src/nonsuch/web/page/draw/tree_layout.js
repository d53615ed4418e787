// @ts-check
/**
 * Where the blocks of a tree stand. Its best chain is a straight line, lane 0; every branch off it
 * takes the nearest lane that is free for all its heights, and keeps it as long as it can, so that
 * what is drawn does not jump. Pure.
 *
 * @typedef {import("../store.js").Row} Block
 */

const LANES = 12; // on either side; a branch beyond them shares the outermost

/**
 * @param {Iterable<Block>} blocks
 * @param {ReadonlyMap<string, number>} before the lanes of the last time, by block
 * @returns {Map<string, number>} lanes by block: negative above the best chain
 */
export function layOut(blocks, before) {
  const sorted = [...blocks].sort(
    (left, right) => left.height - right.height || left.at - right.at,
  );
  const heirs = heirsOf(sorted);
  /** @type {Map<string, number>} */
  const lanes = new Map();
  /** @type {Map<number, number>} the height up to which a lane is taken */
  const taken = new Map();
  for (const block of sorted) {
    if (block.best) lanes.set(block.id, 0);
    else if (heirs.branch.get(block.parent) === block.id)
      lanes.set(block.id, lanes.get(block.parent) ?? 1);
    else {
      const lane = freeLane(block, taken, before.get(block.id));
      taken.set(lane, heirs.reach.get(block.id) ?? block.height);
      lanes.set(block.id, lane);
    }
  }
  return lanes;
}

/**
 * How far each branch reaches, and which child of a pale block continues it: the one that reaches
 * farthest.
 * @param {Block[]} sorted by height
 */
function heirsOf(sorted) {
  const pale = new Set(sorted.filter((block) => !block.best).map((block) => block.id));
  /** @type {Map<string, number>} */
  const reach = new Map();
  /** @type {Map<string, string>} */
  const branch = new Map();
  for (const block of sorted.toReversed()) {
    if (block.best) continue;
    const own = Math.max(block.height, reach.get(block.id) ?? 0);
    reach.set(block.id, own);
    if (!pale.has(block.parent) || own < (reach.get(block.parent) ?? 0)) continue;
    reach.set(block.parent, own);
    branch.set(block.parent, block.id);
  }
  return { reach, branch };
}

/** @param {Block} block @param {Map<number, number>} taken @param {number | undefined} last */
function freeLane(block, taken, last) {
  const free = (/** @type {number} */ lane) => (taken.get(lane) ?? -1) < block.height - 1;
  if (last && free(last)) return last;
  for (let away = 1; away <= LANES; away += 1) {
    if (free(away)) return away;
    if (free(-away)) return -away;
  }
  return LANES;
}
