// @ts-check
/** A pool: the job at hand with its range, its best hash and its miners; audits; other jobs. */

import { mayAct } from "../actions.js";
import { html, panel, put, say, sync, table } from "../dom.js";
import { amount, count, percent, plural, rate, seconds, speed } from "../format.js";
import { paced } from "../frames.js";
import { moment } from "../moment.js";
import { best } from "./best.js";
import { figures } from "./plot.js";
import { rates } from "./rates.js";
import { shards } from "./shards.js";
import { hash } from "./words.js";

const DRAWN_SECONDS = 0.1; // thousands of shards need not be drawn twenty times a second

/** @type {import("../main.js").View} */
export function pool(page, root) {
  const { store } = page;
  const summary = figures(["Hash rate", "Done", "Left", "Miners"]);
  const message = html("span");
  const answer = html("div", { class: "result" });
  const range = shards(page);
  const falling = best(page);
  const speeds = rates(page);
  const audits = auditList(page);
  let chosen = "";
  const others = jobTable(page, (job) => {
    chosen = job;
    page.ask();
  });
  const job = panel("Job", html("p", { class: "message" }, message), answer, range.root);
  const pair = html(
    "div",
    { class: "pair" },
    panel("Best hash so far", falling.root),
    panel("Hash rate by miner", speeds.root),
  );
  const ask = form(page, () => (chosen = ""));
  root.append(ask, summary.root, job, pair, audits.root, others.root);
  let shown = "";

  return paced(page.ask, DRAWN_SECONDS, (changes) => {
    const current = jobNow(store, chosen);
    const id = current?.job ?? "";
    if (id !== shown) changes = { ...changes, reset: true, any: () => true };
    shown = id;
    if (changes.any("about")) ask.hidden = !mayAct(store.about);
    if (changes.any("jobs", "nodes", "about")) summarise(page, summary, current);
    if (changes.any("jobs")) {
      say(message, current ? `“${current.message}”` : "No job yet.");
      showAnswer(answer, current);
      others.draw(id);
    }
    range.draw(changes, current);
    falling.draw(changes, current);
    speeds.draw(changes);
    audits.draw(changes);
    pair.hidden = !current;
  });
}

/** The one that was asked for, else the newest that runs, else the newest.
 * @param {import("../store.js").Store} store @param {string} chosen */
function jobNow(store, chosen) {
  const jobs = store.table("jobs");
  if (jobs.has(chosen)) return jobs.get(chosen);
  const rows = [...jobs.values()].sort((left, right) => right.submitted - left.submitted);
  return rows.find((row) => row.state === "running") ?? rows[0];
}

/**
 * @param {import("../main.js").Page} page @param {import("./plot.js").Figures} tiles
 * @param {import("../store.js").Row | undefined} job
 */
function summarise({ store }, tiles, job) {
  const miners = [...store.table("nodes").values()].filter((node) => node.role === "miner");
  const up = miners.filter((node) => node.state === "up");
  const running = job?.state === "running";
  const fast = running ? job.rate && rate(job.rate) : speed(...up);
  tiles.set("Hash rate", fast || "–", running ? "this job" : "all miners");
  tiles.set(
    "Done",
    job ? percent(doneOf(job)) : "–",
    job ? `${amount(Number(job.done))} of ${amount(Number(job.total))} nonces` : "",
  );
  const took = job?.finished && job.submitted ? job.finished - job.submitted : null;
  tiles.set(
    "Left",
    !job?.finished ? seconds(job?.seconds_left) : "done",
    took == null ? "" : `it took ${seconds(took)}`,
  );
  tiles.set(
    "Miners",
    String(up.length),
    miners.length > up.length
      ? `${miners.length - up.length} away`
      : up.length
        ? "all there"
        : "none yet",
  );
}

/** @param {import("../store.js").Row} job */
const doneOf = (job) => (Number(job.total) ? Number(job.done) / Number(job.total) : 1);

/** @param {HTMLElement} box @param {import("../store.js").Row | undefined} job */
function showAnswer(box, job) {
  box.hidden = !job || (!job.hash && !job.best_hash);
  if (box.hidden || !job) return;
  const done = Boolean(job.hash);
  put(box, { class: done ? "result done" : "result" });
  const nonce = done ? job.nonce : job.best_nonce;
  box.replaceChildren(
    html("span", { class: "label" }, done ? "Answer" : "Best so far"),
    html("span", { class: "nonce" }, `nonce ${count(nonce)}`),
    hash(done ? job.hash : job.best_hash),
    job.verified ? html("span", { class: "verified" }, "✓ verified") : "",
    job.state === "ended" ? html("span", { class: "quiet" }, "ended before it was done") : "",
  );
}

/** @param {import("../main.js").Page} page @param {() => void} sent */
function form({ act, ask }, sent) {
  const message = html("input", {
    name: "message",
    required: true,
    maxlength: 65536,
    placeholder: "Your transaction data",
    autocomplete: "off",
  });
  const upto = html("input", {
    name: "upto",
    required: true,
    inputmode: "numeric",
    value: "100000000",
    pattern: "[0-9][0-9_, ]*",
    title: "A whole number, 0 to 9,007,199,254,740,991",
    autocomplete: "off",
  });
  const box = html(
    "form",
    { class: "ask", "aria-label": "Submit a job" },
    html("label", { class: "grow" }, "Message", message),
    html("label", {}, "Highest nonce, N", upto),
    html("button", { type: "submit", class: "main" }, "Submit"),
  );
  upto.addEventListener("input", () =>
    upto.setCustomValidity(
      Number.isSafeInteger(wholeOf(upto)) ? "" : "N is a whole number below 9,007,199,254,740,992.",
    ),
  );
  box.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!(await act("/api/jobs", { message: message.value, upto: wholeOf(upto) }))) return;
    message.value = "";
    sent();
    ask();
  });
  return box;
}

/** @param {HTMLInputElement} input */
const wholeOf = (input) => Number(input.value.replace(/[_, ]/g, ""));

/** @param {import("../main.js").Page} page @param {(job: string) => void} choose */
function jobTable({ store }, choose) {
  const { box, body } = table("Jobs", ["Message", "#Last nonce", "State", "#Done", "#Answer", "#"]);
  const root = panel("Jobs", box);
  /** @param {import("../store.js").Row} job */
  const make = (job) => {
    const show = html(
      "button",
      {
        type: "button",
        class: "plain",
        click: () => choose(job.job),
        "aria-label": `Show the job “${job.message.slice(0, 40)}”`,
      },
      "Show",
    );
    const cells = [0, 1, 2, 3, 4].map((index) =>
      html("td", { class: index === 0 ? "wide" : index === 2 ? null : "number" }),
    );
    return html("tr", {}, ...cells, html("td", { class: "number" }, show));
  };
  return {
    root,
    /** @param {string} current */
    draw: (current) => {
      const rows = [...store.table("jobs").values()].sort(
        (left, right) => right.submitted - left.submitted,
      );
      root.hidden = rows.length < 2;
      sync(
        body,
        rows,
        (job) => job.job,
        make,
        (row, job) => {
          const done = percent(doneOf(job));
          const texts = [
            job.message,
            count(job.last),
            job.state,
            done,
            job.nonce == null ? "–" : count(job.nonce),
          ];
          texts.forEach((text, index) => say(row.children[index], text));
          put(row, { "aria-current": job.job === current ? "true" : null });
        },
      );
    },
  };
}

/** @param {import("../main.js").Page} page */
function auditList({ store }) {
  const { box, body } = table("Audits, the newest first", [
    "Time",
    "Of",
    "By",
    "Result",
    "What was found",
  ]);
  const summary = html("p", { class: "quiet" });
  const root = panel("Audits", summary, box);
  return {
    root,
    /** @param {import("../store.js").Changes} changes */
    draw: (changes) => {
      if (!changes.any("audits")) return;
      const rows = [...store.table("audits")].reverse();
      const failed = rows.filter(([, row]) => !row.passed).length;
      root.hidden = !rows.length;
      say(
        summary,
        `${plural(rows.length - failed, "shard")} scanned again and found good, ${count(failed)} found false.`,
      );
      sync(
        body,
        rows,
        ([key]) => key,
        ([, row]) => auditRow(row, store.about),
      );
    },
  };
}

/** @param {import("../store.js").Row} row @param {import("../store.js").Row} about */
const auditRow = (row, about) =>
  html(
    "tr",
    {},
    html("td", {}, moment(row.at, about)),
    html("td", {}, row.node),
    html("td", {}, row.auditor ?? "–"),
    html("td", { class: row.passed ? null : "wrong" }, row.passed ? "✓ passed" : "✕ failed"),
    html("td", { class: "wide" }, row.text ?? ""),
  );
