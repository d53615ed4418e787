// @ts-check
/**
 * What happened, in sentences, the newest first. All are shown; only a few are spoken, for a
 * screen reader that must read fifty a second reads nothing.
 */

import { html, say, sync } from "../dom.js";
import { READABLE_SECONDS, paced } from "../frames.js";
import { moment } from "../moment.js";
import { plural } from "../format.js";

const SHOWN_MAX = 120;
const SPOKEN_SECONDS = 1.5;

/** @type {Record<string, string>} */
const MARKS = { info: "·", good: "✓", bad: "!", fault: "×" };

/** @type {import("../main.js").View} */
export function told({ store, ask }, root) {
  const list = html("ol", { class: "told" });
  const box = html(
    "div",
    { class: "scroll tall", tabindex: 0, role: "group", "aria-labelledby": "told-title" },
    list,
  );
  root.replaceChildren(html("h2", { id: "told-title" }, "What happened"), box);
  const speak = speaker();
  return paced(ask, READABLE_SECONDS, (changes) => {
    if (!changes.any("told", "about")) return;
    // What goes on moves up: its row stays where it was, and its time is that of the last of it.
    const newest = [...store.table("told")]
      .sort(([, left], [, right]) => right.until - left.until || right.at - left.at)
      .slice(0, SHOWN_MAX);
    sync(
      list,
      newest,
      ([key]) => key,
      ([, row]) => line(row),
      (item, [, row]) => {
        say(item.children[1], moment(row.until, store.about));
        say(item.children[2], row.text);
      },
    );
    if (changes.reset) return;
    for (const key of changes.tables.get("told") ?? []) speak(store.table("told").get(key)?.text);
  });
}

/** @param {import("../store.js").Row} row */
function line(row) {
  const kind = row.kind in MARKS ? row.kind : "info";
  return html(
    "li",
    { class: `kind-${kind}` },
    html("span", { class: "mark", "aria-hidden": "true" }, MARKS[kind]),
    html("time"),
    html("span", { class: "text" }),
  );
}

/** Speaks the newest of what came in a while, and how much else there was. */
function speaker() {
  const region = /** @type {HTMLElement} */ (document.getElementById("spoken"));
  let waiting = 0;
  let text = "";
  let timer = 0;

  function speak() {
    timer = 0;
    if (!waiting) return;
    say(region, waiting > 1 ? `${text} And ${plural(waiting - 1, "other event")}.` : text);
    waiting = 0;
    timer = window.setTimeout(speak, SPOKEN_SECONDS * 1000);
  }

  return (/** @type {string | undefined} */ sentence) => {
    if (!sentence) return;
    waiting += 1;
    text = sentence;
    if (!timer) speak();
  };
}
