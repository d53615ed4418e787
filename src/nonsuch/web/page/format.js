// @ts-check
/**
 * Numbers and times as people read them. Pure: no document, no clock, no locale, so that a
 * screenshot of one machine reads like that of another.
 */

const STEPS = ["", "k", "M", "G", "T", "P", "E"];

/**
 * 1234567 -> "1,234,567". What a double would round comes as digits, and stays exact.
 * @param {number | string} value
 */
export function count(value) {
  const digits = typeof value === "string" ? value : BigInt(Math.round(value)).toString();
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** 12345678 -> "12.3 M": three digits that matter. @param {number} value */
export function short(value) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < STEPS.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step === 0 && Number.isInteger(value) ? 0 : digitsFor(value);
  return `${value.toFixed(digits)}${step ? " " + STEPS[step] : ""}`;
}

/** Exact where that is as short. @param {number} value */
export const amount = (value) => (value < 1e6 ? count(value) : short(value));

/** @param {number} value */
function digitsFor(value) {
  const size = Math.abs(value);
  return size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
}

/** Hashes a second. @param {number | null | undefined} value */
export function rate(value) {
  if (value == null) return "–";
  const text = short(value);
  return text.includes(" ") ? `${text}H/s` : `${text} H/s`;
}

/**
 * How fast nodes are together, as far as anybody knows: nothing of those that do not run, and
 * "about" where it is what such nodes ought to do.
 * @param {import("./store.js").Row[]} rows
 */
export function speed(...rows) {
  const known = rows.filter((row) => row.rate && (row.state === "up" || row.state === "cut"));
  if (!known.length) return "";
  const sum = known.reduce((total, row) => total + row.rate, 0);
  return `${known.every((row) => row.measured) ? "" : "about "}${rate(sum)}`;
}

/** A part of one, as per cent. @param {number} part @param {number} [digits] */
export function percent(part, digits = 1) {
  return `${(part * 100).toFixed(digits)} %`;
}

/** How long: "340 µs", "12.3 ms", "1.24 s", "2 min 10 s". @param {number | null | undefined} value */
export function seconds(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.9995e-3) return `${Math.round(value * 1e6)} µs`;
  if (size < 0.9995) return `${(value * 1e3).toFixed(digitsFor(value * 1e3))} ms`;
  if (size < 59.5) return `${value.toFixed(digitsFor(value))} s`;
  const whole = Math.round(value);
  if (size < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @param {number} value @param {number} width */
const padded = (value, width) => String(value).padStart(width, "0");

/**
 * Unix seconds as the reader's time of day: what has not begun is not shown, as on any clock. Times
 * are told to the microsecond, and a double is a little off it.
 * @param {number} at @param {number} [digits] at most 6
 */
export function timeOfDay(at, digits = 0) {
  const unit = 10 ** digits;
  const passed = Math.floor(Math.round(at * 1e6) / 10 ** (6 - digits));
  const whole = Math.floor(passed / unit);
  const date = new Date(whole * 1000);
  const text = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const rest = passed - whole * unit;
  return text.map((part) => padded(part, 2)).join(":") + (digits ? `.${padded(rest, digits)}` : "");
}

/** Seconds since the start, "1:02:03.45": what a simulation's clock shows.
 * @param {number} value @param {number} [digits] */
export function elapsed(value, digits = 0) {
  const unit = 10 ** digits;
  const ticks = Math.round(Math.abs(value) * unit);
  const whole = Math.floor(ticks / unit);
  const hours = Math.floor(whole / 3600);
  const minutes = padded(Math.floor((whole % 3600) / 60), hours ? 2 : 1);
  const text = `${hours ? hours + ":" : ""}${minutes}:${padded(whole % 60, 2)}`;
  return `${value < 0 ? "−" : ""}${text}${digits ? "." + padded(ticks % unit, digits) : ""}`;
}

/** An id's six digits that differ: its leading zeros say only that it is a proof.
 * @param {string | null | undefined} id */
export function shortId(id) {
  if (!id) return "–";
  const rest = id.replace(/^0+(?=.{6})/, "");
  return rest.slice(0, 6);
}

/** Where the zeros of a hash end, so that they can be shown apart. @param {string} hash */
export function zeroDigits(hash) {
  return /^0*/.exec(hash)?.[0].length ?? 0;
}

/**
 * log2 of how many hashes such a hash costs: "leading zero bits", with a fraction.
 * @param {string} hash big-endian hex of any length
 */
export function zeroBits(hash) {
  const zeros = zeroDigits(hash);
  const rest = hash.slice(zeros, zeros + 12); // 48 bits: all that a double can tell apart
  if (!rest) return zeros * 4;
  return zeros * 4 - Math.log2(parseInt(rest, 16) / 16 ** rest.length);
}

/** "3 nodes", "1 node". @param {number} number @param {string} noun @param {string} [nouns] */
export function plural(number, noun, nouns = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : nouns}`;
}

/** The number in a node's name, or its first letter: what fits on a block. @param {string} name */
export function badge(name) {
  return /(\d+)$/.exec(name)?.[1] ?? name.slice(0, 1).toUpperCase();
}

const collator = new Intl.Collator("en", { numeric: true });

/** "miner-2" before "miner-10". @param {string} left @param {string} right */
export const byName = (left, right) => collator.compare(left, right);

/** The middle of some numbers; null of none. @param {number[]} values */
export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
