// @ts-check
/** A moment as this network counts it: the time of day, or the seconds of a simulation. */

import { elapsed, timeOfDay } from "./format.js";

/**
 * @param {number | null | undefined} at @param {import("./store.js").Row} about
 * @param {number} [digits] of a second
 */
export function moment(at, about, digits = 0) {
  if (at == null) return "–";
  return about.virtual ? elapsed(at - (about.started ?? 0), digits) : timeOfDay(at, digits);
}
