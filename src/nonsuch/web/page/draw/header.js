// @ts-check
/** The first line: what is shown, how it runs, and whether we still hear of it. */

import { html, put, say } from "../dom.js";

/** @type {Record<string, string>} */
const WORDS = {
  pool: "Pool: one range, many miners",
  gossip: "Gossip: a chain by datagrams",
  peer: "Peers: a chain with transactions",
  race: "Race: many nodes, one winner",
  coordinator: "Coordinator: headers out, answers in",
};

/** @type {import("../main.js").View} */
export function header({ store }, title) {
  const network = /** @type {HTMLElement} */ (document.getElementById("network"));
  const mode = /** @type {HTMLElement} */ (document.getElementById("mode"));
  return (changes) => {
    if (!changes.any("about")) return;
    const about = store.about;
    say(title, about.title || "Nonsuch");
    document.title = about.title ? `${about.title} · Nonsuch` : "Nonsuch";
    say(network, WORDS[about.network] ?? "");
    say(mode, modeOf(about));
    put(mode, { class: `chip ${about.recording ? "recording" : ""}`, title: titleOf(about) });
  };
}

/** @param {import("../store.js").Row} about */
function modeOf(about) {
  const speed = about.speed && about.speed !== 1 ? ` ×${about.speed}` : "";
  const what = about.replay ? "Replay" : about.virtual ? "Simulated" : "Live";
  const state = about.paused ? ", paused" : about.recording ? ", recording" : "";
  return what + speed + state;
}

/** @param {import("../store.js").Row} about */
function titleOf(about) {
  if (about.replay) return "A recording, played again";
  return about.virtual ? "The same programs in virtual time" : "Real programs on this machine";
}

/** @type {Record<import("../stream.js").Connection, string>} */
const STATES = {
  connecting: "Connecting",
  open: "Connected",
  waiting: "Not connected",
  refused: "Refused",
};

/**
 * @param {HTMLElement} chip @param {HTMLElement} notice
 * @param {import("../stream.js").Connection} state @param {number} seconds @param {() => void} retry
 */
export function connection(chip, notice, state, seconds, retry) {
  say(chip, STATES[state]);
  put(chip, { class: `chip link-${state}` });
  if (state === "connecting") return; // the notice stays until the stream is there
  notice.hidden = state === "open";
  const now = html("button", { type: "button", click: retry }, "Try now");
  if (state === "waiting") {
    const text = `The connection is lost. What you see is the last that was heard. Trying again in ${seconds} s.`;
    notice.replaceChildren(text, now);
  } else if (state === "refused") {
    notice.replaceChildren(
      "The dashboard wants its token: open the address that its program printed.",
      now,
    );
  }
}
