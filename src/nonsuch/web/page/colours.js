// @ts-check
/**
 * A colour for each node, the same for as long as the page is open. The eight hues (style.css) stay
 * apart for people who see fewer of them; with more nodes than hues the number on a block or
 * beside a swatch says which one it is.
 */

import { byName } from "./format.js";

const HUES = 8;

/** Roles that find blocks or nonces; others are drawn in grey. */
const COLOURED = new Set(["miner", "gossip", "peer", "race", "agent"]);

export class Colours {
  /** @type {Map<string, number>} */
  #given = new Map();

  /** Give colours to those that are new, in the order of their names.
   * @param {ReadonlyMap<string, import("./store.js").Row>} nodes */
  learn(nodes) {
    const fresh = [...nodes.values()].filter(
      (node) => COLOURED.has(node.role) && !this.#given.has(node.name),
    );
    fresh.sort((left, right) => byName(left.name, right.name));
    for (const node of fresh) this.#given.set(node.name, this.#given.size % HUES);
  }

  /** The class that carries a node's colour. @param {string | null | undefined} name */
  of(name) {
    const hue = name ? this.#given.get(name) : undefined;
    return hue === undefined ? "hue hue-none" : `hue hue-${hue}`;
  }
}
