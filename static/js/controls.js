// Small controls: the colours of the site, copying, showing a password.

const root = document.documentElement;

function showTheme() {
  for (const button of document.querySelectorAll("[data-set-theme]")) {
    button.setAttribute("aria-pressed", button.dataset.setTheme === root.dataset.theme);
  }
}

function setTheme(theme) {
  root.dataset.theme = theme;
  // A cookie, so that the server renders the next page in these colours from its first pixel on.
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  showTheme();
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = (button.dataset.label ??= button.textContent);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without https the clipboard is closed to scripts: what is selected is one key away from it.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = label), 2000);
}

function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const shown = field.type === "password";
  field.type = shown ? "text" : "password";
  button.textContent = shown ? "Hide" : "Show";
  button.setAttribute("aria-pressed", shown);
}

// A question that came with a part of the page is put in front of everything else.
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
