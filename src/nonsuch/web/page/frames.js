// @ts-check
/**
 * When things are drawn: once a frame, however many messages came, and never while nobody looks.
 */

import { together } from "./store.js";

export const READABLE_SECONDS = 0.25; // figures that change faster than this are a flicker

/**
 * @param {(seconds: number) => boolean} draw given the seconds since the last frame, at most a
 *   tenth; true while something still moves
 * @returns {() => void} ask for a frame
 */
export function frames(draw) {
  let asked = false;
  let last = 0;

  /** @param {number} now */
  function run(now) {
    asked = false;
    const elapsed = Math.min(0.1, (now - last) / 1000);
    last = now;
    if (draw(elapsed)) ask();
  }

  function ask() {
    if (asked || document.hidden) return;
    asked = true;
    requestAnimationFrame(run);
  }

  document.addEventListener("visibilitychange", ask);
  return ask;
}

/**
 * A view that nobody can read faster anyway: it draws at once after a pause, and then at most every
 * so many seconds, all that has changed meanwhile.
 *
 * @param {() => void} ask for a frame
 * @param {number} seconds
 * @param {(changes: import("./store.js").Changes) => void} draw
 * @returns {(changes: import("./store.js").Changes) => void}
 */
export function paced(ask, seconds, draw) {
  let next = 0;
  let timer = 0;
  /** @type {import("./store.js").Changes[]} */
  let waiting = [];
  const wake = () => {
    timer = 0;
    ask();
  };
  return (changes) => {
    if (changes.reset) waiting = [];
    if (changes.reset || changes.tables.size) waiting.push(changes);
    const now = performance.now();
    if (now >= next || changes.reset) {
      next = now + seconds * 1000;
      draw(together(waiting));
      waiting = [];
    } else timer ||= window.setTimeout(wake, next - now);
  };
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether things may move at all. */
export const motion = () => !still.matches;
