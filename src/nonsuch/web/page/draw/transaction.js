// @ts-check
/** The form that sends a transaction, in the networks that carry them. */

import { html } from "../dom.js";

/** @param {import("../main.js").Page} page */
export function transaction({ act }) {
  const text = html("input", {
    name: "text",
    required: true,
    maxlength: 65536,
    placeholder: "Alice pays Bob 5",
    autocomplete: "off",
  });
  const form = html(
    "form",
    { class: "ask", "aria-label": "Send a transaction" },
    html("label", { class: "grow" }, "Transaction", text),
    html("button", { type: "submit", class: "main" }, "Send"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await act("/api/transactions", { text: text.value })) text.value = "";
  });
  return form;
}
