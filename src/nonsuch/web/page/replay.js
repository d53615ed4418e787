// @ts-check
/** A recording's clock: where it stands, how fast it goes, and the slider that moves it. */

import { html, put, say } from "./dom.js";
import { elapsed } from "./format.js";
import { clamp } from "./scale.js";

const SPEEDS = [0.1, 0.5, 1, 2, 5, 10, 50, 100];
const SEEK_SECONDS = 0.15; // while the slider is dragged: a seek folds the recording again

const TICK_SECONDS = 0.25; // the stream is silent while nothing happens, and the clock goes on

/** @type {import("./main.js").View} */
export function replay({ store, act, ask }, root) {
  const play = html("button", {
    type: "button",
    click: () => act("/api/replay", { paused: !store.about.paused }, true),
  });
  const slider = html("input", {
    type: "range",
    min: 0,
    step: 0.01,
    class: "grow",
    "aria-label": "Time of the recording",
  });
  const clock = html("output", { class: "clock" });
  const speeds = SPEEDS.map((speed) => html("option", { value: speed }, `×${speed}`));
  const speed = html(
    "select",
    {
      "aria-label": "Speed",
      change: () => act("/api/replay", { speed: Number(speed.value) }, true),
    },
    ...speeds,
  );
  root.append(play, slider, clock, speed);
  let held = -Infinity; // when the slider was moved last: the stream does not move it back then
  let timer = 0;
  let tick = 0;

  function seek() {
    timer = 0;
    act("/api/replay", { at: store.about.begin + Number(slider.value) }, true);
  }

  slider.addEventListener("input", () => {
    held = performance.now();
    show(Number(slider.value));
    timer ||= window.setTimeout(seek, SEEK_SECONDS * 1000);
  });

  /** @param {number} position */
  function show(position) {
    const { begin, end } = store.about;
    const text = `${elapsed(position)} of ${elapsed(end - begin)}`;
    say(clock, text);
    put(slider, { "aria-valuetext": text });
  }

  return (changes) => {
    const about = store.about;
    if (changes.any("about")) {
      root.hidden = !about.replay;
      say(play, about.paused ? "Play" : "Pause");
      put(slider, { max: Math.max(0, about.end - about.begin) || 0 });
      if (![...speed.options].some((each) => Number(each.value) === about.speed))
        speed.append(html("option", { value: about.speed }, `×${about.speed}`));
      speed.value = String(about.speed);
    }
    if (!about.replay || performance.now() - held < 1000) return;
    const position = clamp(store.now() - about.begin, 0, about.end - about.begin);
    slider.value = String(position);
    show(position);
    clearTimeout(tick);
    if (!about.paused && about.begin + position < about.end)
      tick = window.setTimeout(ask, TICK_SECONDS * 1000);
  };
}
