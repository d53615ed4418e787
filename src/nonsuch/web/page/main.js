// @ts-check
/** The page put together: the stream fills the store, and each frame draws what changed. */

import { actions } from "./actions.js";
import { Colours } from "./colours.js";
import { controls } from "./controls.js";
import { say } from "./dom.js";
import { frames } from "./frames.js";
import { replay } from "./replay.js";
import { Store } from "./store.js";
import { listen } from "./stream.js";
import { theme } from "./theme.js";
import { chain } from "./draw/chain.js";
import { coordinator } from "./draw/coordinator.js";
import { connection, header } from "./draw/header.js";
import { nodes } from "./draw/nodes.js";
import { pool } from "./draw/pool.js";
import { race } from "./draw/race.js";
import { told } from "./draw/told.js";

/**
 * @typedef {object} Page what every view is given
 * @property {Store} store
 * @property {Colours} colours
 * @property {import("./actions.js").Act} act
 * @property {() => void} ask for a frame
 *
 * A view draws what changed; it returns true while something of it still moves.
 * @typedef {(changes: import("./store.js").Changes, elapsed: number) => boolean | void} Draw
 * @typedef {(page: Page, root: HTMLElement) => Draw} View
 */

/** @type {Record<string, View>} */
const NETWORKS = { pool, gossip: chain, peer: chain, race, coordinator };

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

function start() {
  const store = new Store();
  const ask = frames(draw);
  const page = { store, colours: new Colours(), act: actions(element("answer")), ask };
  const fixed = [
    header(page, element("title")),
    replay(page, element("replay")),
    controls(page, element("controls")),
    nodes(page, element("nodes")),
    told(page, element("told")),
  ];
  let shown = "";
  /** @type {Draw} */
  let network = () => {};

  /** @param {import("./store.js").Changes} changes */
  function choose(changes) {
    const wanted = store.about.network ?? "";
    if (wanted === shown) return;
    shown = wanted;
    const root = element("view");
    root.replaceChildren();
    network = NETWORKS[wanted]?.(page, root) ?? (() => {});
    if (!NETWORKS[wanted]) say(root, `This page does not know the network "${wanted}".`);
    changes.reset = true;
  }

  /** @param {number} elapsed */
  function draw(elapsed) {
    const changes = store.take();
    if (changes.any("about")) choose(changes);
    if (changes.any("nodes")) page.colours.learn(store.table("nodes"));
    for (const view of fixed) view(changes, elapsed);
    return network(changes, elapsed) === true;
  }

  theme(/** @type {HTMLButtonElement} */ (element("theme")));
  const stream = listen(
    (message) => {
      const whole = store.apply(message);
      if (whole) ask();
      return whole;
    },
    (state, seconds) =>
      connection(element("connection"), element("lost"), state, seconds, () => stream.retry()),
  );
}

start();
