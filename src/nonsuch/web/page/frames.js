// @ts-check
/**
 * One drawing a frame, however many messages came, and none while nobody looks: a hidden tab
 * keeps its picture up to date and draws it when it is seen again.
 *
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

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether things may move at all. */
export const motion = () => !still.matches;
