// @ts-check
/**
 * What people do: a request, and the sentence that comes back. An error stays until it is put
 * away; what went well is said for some seconds.
 */

import { html } from "./dom.js";

const SHOWN_SECONDS = 6;

/**
 * @typedef {(path: string, body?: object, quiet?: boolean) => Promise<boolean>} Act true where it
 *   was done; a quiet one says only what went wrong
 * @param {HTMLElement} box @returns {Act}
 */
export function actions(box) {
  let timer = 0;

  /** @param {string} text @param {boolean} good */
  function show(text, good) {
    clearTimeout(timer);
    const hide = () => (box.hidden = true);
    const words = html("p", { role: good ? "status" : "alert" }, text);
    box.replaceChildren(
      words,
      html("button", { type: "button", class: "plain", click: hide }, "Close"),
    );
    box.className = good ? "answer" : "answer bad";
    box.hidden = false;
    if (good) timer = window.setTimeout(hide, SHOWN_SECONDS * 1000);
  }

  return async (path, body = {}, quiet = false) => {
    const { text, good } = await send(path, body);
    if (text && !(good && quiet)) show(text, good);
    return good;
  };
}

/** Whether anything can be changed. @param {import("./store.js").Row} about */
export const mayAct = (about) => Boolean(about.control && !about.replay);

/** @param {string} path @param {object} body */
async function send(path, body) {
  // A page of another host cannot set this header without asking first.
  const headers = { "Content-Type": "application/json", "X-Nonsuch": "1" };
  try {
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    return { text: await sentence(answer), good: answer.ok };
  } catch {
    return { text: "The dashboard's program does not answer. Is it still running?", good: false };
  }
}

/** @param {Response} answer @returns {Promise<string>} */
async function sentence(answer) {
  try {
    const { text } = await answer.json();
    if (typeof text === "string") return text;
  } catch {
    // not ours, then: the status is all there is to say
  }
  return answer.ok ? "" : `It was refused (${answer.status} ${answer.statusText}).`;
}
