// Small controls: theme, copy buttons, showing a password, buttons with a countdown.

import { words } from "./words.js";

const root = document.documentElement;

function showTheme() {
  for (const button of document.querySelectorAll("[data-set-theme]")) {
    button.setAttribute("aria-pressed", button.dataset.setTheme === root.dataset.theme);
  }
}

function setTheme(theme) {
  root.dataset.theme = theme;
  // A cookie, so that the server renders the next page in this theme.
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  showTheme();
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = (button.dataset.label ??= button.textContent);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = words.copied;
  } catch {
    // Without https scripts cannot write to the clipboard: select the text, so that the user can copy it.
    getSelection().selectAllChildren(source);
    button.textContent = words.selected;
  }
  setTimeout(() => (button.textContent = label), 2000);
}

function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const shown = field.type === "password";
  field.type = shown ? "text" : "password";
  button.textContent = shown ? words.hide : words.show;
  button.setAttribute("aria-pressed", shown);
}

// Disable a button for data-wait seconds and show the seconds left.
function countDown(button) {
  const label = button.textContent;
  const ready = performance.now() + 1000 * button.dataset.wait;
  (function tick() {
    const left = Math.ceil((ready - performance.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? button.dataset.words.replace("%s", left) : label;
    if (left > 0) setTimeout(tick, 250);
  })();
}

// Open a dialog that was swapped into the page as a modal.
document.addEventListener("htmx:after:swap", () => {
  for (const dialog of document.querySelectorAll("dialog[data-modal]:not([open])")) {
    dialog.removeAttribute("data-modal");
    dialog.showModal();
  }
});

document.addEventListener("change", ({ target }) => {
  if (target.dataset.tickAll === undefined) return;
  for (const box of target.form.elements.devices.length ? target.form.elements.devices : [target.form.elements.devices]) box.checked = target.checked;
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.setTheme !== undefined) setTheme(button.dataset.setTheme);
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.reveal) reveal(button);
});
showTheme();
document.querySelectorAll("[data-wait]").forEach(countDown);
