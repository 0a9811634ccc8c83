// Before the first pixel: the colours that were chosen on the site. Later: JSON that is being typed.
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

// What is searched for as it is typed is drawn by a script that leaves its fields without a name.
new MutationObserver(() => {
  for (const select of document.querySelectorAll("select.select2-hidden-accessible:not([data-named])")) {
    const name = select.getAttribute("aria-label") ?? select.labels[0]?.textContent ?? select.name;
    for (const part of select.parentElement.querySelectorAll(".select2 [role]")) {
      part.setAttribute("aria-label", name);
      select.dataset.named = "";
    }
  }
}).observe(document, { childList: true, subtree: true });
