// @ts-check
/** What can be done to the network as a whole. */

import { mayAct } from "./actions.js";
import { html, put, say } from "./dom.js";

/** @type {Record<string, [string, string]>} the role that can be added, and its name on the button */
const ADDED = {
  pool: ["miner", "Add a miner"],
  gossip: ["gossip", "Add a miner"],
  peer: ["peer", "Add a peer"],
  race: ["race", "Add a node"],
  coordinator: ["agent", "Add an agent"],
};

/** @type {import("./main.js").View} */
export function controls({ store, act }, root) {
  const button = (/** @type {string} */ text, /** @type {() => void} */ click) =>
    html("button", { type: "button", click }, text);
  const add = button("", () => act("/api/nodes", { role: ADDED[store.about.network]?.[0] }));
  const heal = button("Heal all", () => act("/api/heal"));
  const record = button("Record", () => act("/api/recording", { on: !store.about.recording }));
  const download = html(
    "a",
    { href: "/api/recording", download: true, class: "button" },
    "Download the recording",
  );
  const loss = lossSlider(act);
  root.append(add, heal, loss.root, html("span", { class: "grow" }), record, download);
  let recorded = false;

  return (changes) => {
    if (!changes.any("about")) return;
    const { network, recording } = store.about;
    root.hidden = !mayAct(store.about);
    recorded ||= recording;
    add.hidden = !(network in ADDED);
    say(add, ADDED[network]?.[1] ?? "");
    loss.root.hidden = network !== "gossip";
    loss.set(store.about.loss ?? 0);
    put(record, { "aria-pressed": String(Boolean(recording)) });
    say(record, recording ? "Stop recording" : "Record");
    download.hidden = !recorded;
  };
}

/** @param {import("./actions.js").Act} act */
function lossSlider(act) {
  const output = html("output", {}, "0 %");
  const slider = html("input", { type: "range", min: 0, max: 90, step: 1, value: 0 });
  slider.addEventListener("input", () => say(output, `${slider.value} %`));
  // When it is let go, not at every step: each is told to every node.
  slider.addEventListener("change", () => act("/api/loss", { share: Number(slider.value) / 100 }));
  const root = html("label", { class: "slider" }, "Datagrams lost ", slider, output);
  let told = 0;
  return {
    root,
    set: (/** @type {number} */ share) => {
      if (share === told) return; // nobody else has moved it meanwhile
      told = share;
      slider.value = String(Math.round(share * 100));
      say(output, `${slider.value} %`);
    },
  };
}
