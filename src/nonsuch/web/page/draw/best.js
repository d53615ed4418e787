// @ts-check
/**
 * How the best hash improves: its leading zero bits, a fraction included, over time. The band is
 * the law: after n hashes the best has log2(n) bits, give or take; nine searches of ten lie in it.
 */

import { html, put, say, svg } from "../dom.js";
import { seconds, zeroBits } from "../format.js";
import { linear, ticks, timeTicks } from "../scale.js";
import { line, plot, steps } from "./plot.js";

const MARGIN = { top: 10, right: 16, bottom: 26, left: 36 };
const HEIGHT = 200;
const SAMPLES = 60;

/** The best of n is below a share `-ln(1 - q) / n` of all hashes with probability q. @param {number} q */
const bitsAt = (q) => -Math.log2(-Math.log(1 - q));
const [LOW, MIDDLE, HIGH] = [bitsAt(0.95), bitsAt(0.5), bitsAt(0.05)];

/** @param {import("../main.js").Page} page */
export function best(page) {
  const chart = plot(page, { height: HEIGHT, margin: MARGIN });
  const band = svg("path", { class: "band" });
  const law = svg("path", { class: "law" });
  const path = svg("path", { class: "falling" });
  const points = svg("path", { class: "points" });
  chart.inner.append(band, law, path, points);
  const caption = html("p", { class: "quiet caption" });
  const root = html("div", {}, chart.root, caption);

  /** @param {import("../store.js").Changes} changes @param {import("../store.js").Row | undefined} job */
  function draw(changes, job) {
    if (!job || (!changes.any("best", "jobs") && !chart.resized())) return;
    const rows = [...page.store.owned("best", job.job).values()].sort(
      (left, right) => left.at - right.at,
    );
    const begun = job.submitted ?? rows[0]?.at ?? page.store.at;
    const end = Math.max(
      0.001,
      (job.finished ?? Math.max(page.store.at, rows.at(-1)?.at ?? 0)) - begun,
    );
    const found = rows.map(
      (row) => /** @type {[number, number]} */ ([Math.max(0, row.at - begun), zeroBits(row.hash)]),
    );
    const middle = Math.log2(Math.max(2, Number(job.done))) + MIDDLE;
    const top = Math.ceil(Math.max(...found.map(([, bits]) => bits), middle) + 1.5);
    const bottom = Math.max(
      0,
      Math.floor(Math.min(top - 10, ...found.slice(-6).map(([, bits]) => bits)) - 1),
    );
    const x = linear([0, end], [MARGIN.left, chart.width - MARGIN.right]);
    const y = linear([bottom, top], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const inside = (/** @type {number} */ bits) => y(Math.min(top, Math.max(bottom, bits)));
    /** @param {number} shift @returns {[number, number][]} */
    const lawful = (shift) =>
      samples(Number(job.done), end).map(([at, bits]) => [x(at), inside(bits + shift)]);
    put(band, {
      d: Number(job.done)
        ? `${line(lawful(HIGH))}${line(lawful(LOW).reverse()).replace("M", "L")}Z`
        : "",
    });
    put(law, { d: Number(job.done) ? line(lawful(MIDDLE)) : "" });
    const seen = found.map(([at, bits]) => /** @type {[number, number]} */ ([x(at), inside(bits)]));
    put(path, { d: seen.length ? steps([...seen, [x(end), seen[seen.length - 1][1]]]) : "" });
    put(points, { d: seen.map(([left, up]) => `M${left.toFixed(1)} ${up.toFixed(1)}h0`).join("") });
    chart.bottom(timeTicks(0, end, chart.width / 110), x, seconds);
    chart.left(ticks(bottom, top, 5).filter(Number.isInteger), y, String);
    const reached = found.length ? found[found.length - 1][1].toFixed(1) : "no";
    say(
      caption,
      `Leading zero bits: ${reached} now, ${middle.toFixed(1)} expected of so many hashes. Nine searches of ten stay in the band.`,
    );
    chart.describe(
      `The best hash has ${reached} leading zero bits after ${seconds(end)} and ${rows.length} improvements; ${middle.toFixed(1)} would be expected.`,
    );
  }

  return { root, draw };
}

/** log2 of the hashes done by a time, were the speed always the same. @param {number} done @param {number} end */
const samples = (done, end) =>
  Array.from({ length: SAMPLES }, (_, index) => {
    const part = ((index + 0.25) / (SAMPLES - 0.75)) ** 2; // denser where the curve is steep
    return /** @type {[number, number]} */ ([end * part, Math.log2(Math.max(1, done * part))]);
  });
