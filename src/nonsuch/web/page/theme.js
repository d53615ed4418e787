// @ts-check
/** Light or dark: the system's choice until somebody chooses here, which is then remembered. */

const KEY = "nonsuch-theme";
const CHOICES = ["system", "light", "dark"];

function remembered() {
  try {
    return localStorage.getItem(KEY) ?? "system";
  } catch {
    return "system"; // a browser may forbid storage
  }
}

/** @param {string} choice */
function choose(choice) {
  const root = document.documentElement;
  if (choice === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = choice;
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // it holds until the page is left, then
  }
}

/** @param {HTMLButtonElement} button */
export function theme(button) {
  let choice = CHOICES.includes(remembered()) ? remembered() : "system";
  const show = () => {
    choose(choice);
    button.textContent = choice === "system" ? "Theme: auto" : `Theme: ${choice}`;
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    show();
  });
  show();
}
