// @ts-check
/** A drawing that is moved by hand: keys, wheel, pointer, each to what it means. */

const STILL_PIXELS = 2; // a click that shakes is no drag

/**
 * @typedef {object} Hands
 * @property {Record<string, () => void>} keys
 * @property {(factor: number) => void} zoom
 * @property {(pixels: number) => void} pan by the wheel, to the right
 * @property {(pixels: number) => void} drag with the pointer, which what is drawn follows
 *
 * @param {HTMLElement} stage @param {Hands} hands
 */
export function steer(stage, { keys, zoom, pan, drag }) {
  stage.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  /** Up and down stay the page's own. @param {WheelEvent} event */
  function wheel(event) {
    const across = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.ctrlKey) zoom(Math.exp(-event.deltaY / 300));
    else if (event.shiftKey || Math.abs(across) > Math.abs(event.deltaY)) pan(across);
    else return;
    event.preventDefault();
  }
  stage.addEventListener("wheel", wheel, { passive: false });

  let last = /** @type {number | null} */ (null);
  stage.addEventListener("pointerdown", (event) => {
    last = event.button === 0 ? event.clientX : null;
  });
  stage.addEventListener("pointermove", (event) => {
    if (last === null || !(event.buttons & 1)) return;
    if (Math.abs(event.clientX - last) < STILL_PIXELS) return;
    drag(event.clientX - last);
    last = event.clientX;
  });
  stage.addEventListener("pointerup", () => (last = null));
}
