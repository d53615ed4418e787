// @ts-check
/** Small pieces of text that several views show in the same way. */

import { html } from "../dom.js";
import { zeroBits, zeroDigits } from "../format.js";

/** A hash, its leading zeros apart, and what it is worth in bits. @param {string} digits */
export function hash(digits) {
  const zeros = zeroDigits(digits);
  return html(
    "span",
    { class: "hash" },
    html("code", {}, html("span", { class: "zeros" }, digits.slice(0, zeros)), digits.slice(zeros)),
    html("span", { class: "quiet" }, `${zeroBits(digits).toFixed(1)} bits`),
  );
}

/** A node with its colour. @param {import("../colours.js").Colours} colours @param {string | null | undefined} name */
export const node = (colours, name) =>
  html(
    "span",
    { class: "node" },
    html("span", { class: `swatch ${colours.of(name)}`, "aria-hidden": "true" }),
    name || "–",
  );
