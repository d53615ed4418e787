// @ts-check
/** From values to pixels, and round numbers for an axis. Pure. */

/**
 * @param {[number, number]} domain @param {[number, number]} range
 * @returns {(value: number) => number}
 */
export function linear([low, high], [start, stop]) {
  const factor = high === low ? 0 : (stop - start) / (high - low);
  return (value) => start + (value - low) * factor;
}

/** The next of 1, 2, 5, 10, 20 … @param {number} value */
export function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const part = value / power;
  return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

/** Round values in [low, high], about `wanted` of them. @param {number} low @param {number} high @param {number} wanted */
export function ticks(low, high, wanted) {
  if (!(high > low)) return [low];
  const step = niceStep((high - low) / Math.max(1, wanted));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];

/** Round times in [low, high]. @param {number} low @param {number} high @param {number} wanted */
export function timeTicks(low, high, wanted) {
  const span = (high - low) / Math.max(1, wanted);
  const step = TIME_STEPS.find((candidate) => candidate >= span);
  if (span < 1 || step === undefined) return ticks(low, high, wanted);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * One frame of a movement that slows down as it arrives; there once it is nearer than `close`.
 * It needs no start and no end, so a target may move while it is followed.
 * @param {number} here @param {number} target @param {number} elapsed seconds since the last frame
 * @param {number} [close]
 */
export function approach(here, target, elapsed, close = 0.4) {
  const next = target + (here - target) * Math.exp(-elapsed / 0.09);
  return Math.abs(next - target) < close ? target : next;
}
