// @ts-check
/** What all charts share: a drawing as wide as its place, two axes, figures, legends. */

import { html, put, say, svg, sync } from "../dom.js";

/**
 * @typedef {object} Plot
 * @property {HTMLElement} root
 * @property {SVGSVGElement} drawing
 * @property {SVGGElement} inner drawn over the axes
 * @property {number} width @property {number} height
 * @property {() => boolean} resized since this was asked last
 * @property {(values: number[], x: (value: number) => number, words: (value: number) => string) => void} bottom
 * @property {(values: number[], y: (value: number) => number, words: (value: number) => string) => void} left
 * @property {(text: string) => void} describe in words, for those who do not see it
 *
 * @param {import("../main.js").Page} page
 * @param {{height: number, margin: {top: number, right: number, bottom: number, left: number}}} shape
 * @returns {Plot}
 */
export function plot(page, { height, margin }) {
  const below = svg("g", { class: "axis" });
  const beside = svg("g", { class: "axis" });
  const inner = svg("g");
  const drawing = svg("svg", { class: "plot", role: "img", height }, below, beside, inner);
  const root = html("div", { class: "plot-box" }, drawing);
  let fresh = true;
  /** @type {Plot} */
  const self = {
    root,
    drawing,
    inner,
    width: 600,
    height,
    resized: () => fresh && !(fresh = false),
    describe: (text) => put(drawing, { "aria-label": text }),
    bottom: (values, x, words) =>
      sync(
        below,
        values,
        String,
        () => svg("text", { "text-anchor": "middle", y: height - margin.bottom + 16 }),
        (text, value) => {
          put(text, { x: x(value).toFixed(1) });
          say(text, words(value));
        },
      ),
    left: (values, y, words) =>
      sync(
        beside,
        values,
        String,
        () =>
          svg(
            "g",
            {},
            svg("line"),
            svg("text", { "text-anchor": "end", x: margin.left - 8, dy: "0.32em" }),
          ),
        (g, value) => {
          put(g, { transform: `translate(0 ${y(value).toFixed(1)})` });
          put(/** @type {Element} */ (g.firstChild), {
            x1: margin.left,
            x2: self.width - margin.right,
          });
          say(/** @type {Element} */ (g.lastChild), words(value));
        },
      ),
  };
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (!width || width === self.width) return;
    self.width = width;
    put(drawing, { viewBox: `0 0 ${width} ${height}` });
    fresh = true;
    page.ask();
  }).observe(root);
  put(drawing, { viewBox: `0 0 600 ${height}` });
  return self;
}

/**
 * A row of figures, each with its name.
 * @typedef {{root: HTMLElement, set: (name: string, value: string, why?: string) => void}} Figures
 * @param {string[]} names @returns {Figures}
 */
export function figures(names) {
  const places = new Map(names.map((name) => [name, html("dd", {}, "–")]));
  const whys = new Map(names.map((name) => [name, html("dd", { class: "quiet" })]));
  const tiles = names.map((name) =>
    html(
      "div",
      {},
      html("dt", {}, name),
      /** @type {Node} */ (places.get(name)),
      /** @type {Node} */ (whys.get(name)),
    ),
  );
  return {
    root: html("dl", { class: "figures" }, ...tiles),
    set: (name, value, why = "") => {
      say(/** @type {Element} */ (places.get(name)), value);
      say(/** @type {Element} */ (whys.get(name)), why);
    },
  };
}

/** A path through points. @param {[number, number][]} points */
export const line = (points) =>
  points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** The same, level until the next point. @param {[number, number][]} points */
export const steps = (points) =>
  points
    .map(([x, y], index) =>
      index ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`,
    )
    .join("");

/** Names with their colours. @returns {HTMLUListElement} */
export const legend = () => html("ul", { class: "legend" });

/**
 * @param {HTMLElement} list
 * @param {{key: string, hue: string, text: string}[]} items
 */
export function fillLegend(list, items) {
  sync(
    list,
    items,
    (item) => item.key,
    () => html("li", {}, html("span", { class: "swatch", "aria-hidden": "true" }), html("span")),
    (element, item) => {
      put(element.children[0], { class: `swatch ${item.hue}` });
      say(element.children[1], item.text);
    },
  );
}
