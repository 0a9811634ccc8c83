// Apply the theme chosen on the site before the first paint; validate JSON fields during input.
"use strict";

const words = () => JSON.parse(document.querySelector("meta[name=words]").content);

document.documentElement.dataset.theme = /(?:^|; )theme=(light|dark)/.exec(document.cookie)?.[1] ?? "";

document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("textarea[data-json]")) return;
  let fault = "";
  try {
    const value = JSON.parse(target.value || "{}");
    if (value === null || typeof value !== "object" || Array.isArray(value)) fault = words().object;
  } catch (error) {
    fault = error.message;
  }
  const output = document.getElementById(`${target.id}_json`) ?? Object.assign(document.createElement("output"), { id: `${target.id}_json`, className: "json-fault" });
  output.textContent = fault;
  if (!output.isConnected) target.after(output);
  target.setAttribute("aria-invalid", String(fault !== ""));
});

// select2 renders its fields without an accessible name: copy the label of the select element.
new MutationObserver(() => {
  for (const select of document.querySelectorAll("select.select2-hidden-accessible:not([data-named])")) {
    const name = select.getAttribute("aria-label") ?? select.labels[0]?.textContent ?? select.name;
    for (const part of select.parentElement.querySelectorAll(".select2 [role]")) {
      part.setAttribute("aria-label", name);
      select.dataset.named = "";
    }
  }
}).observe(document, { childList: true, subtree: true });
