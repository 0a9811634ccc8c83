// Show the number of offline devices in the tab's title and icon; the device list carries both.

function show() {
  const { title, icon } = document.getElementById("devices")?.dataset ?? {};
  if (!title) return;
  if (document.title !== title) document.title = title;
  const link = document.querySelector("link[rel=icon]");
  if (link.href !== icon) link.href = icon;
}

document.addEventListener("htmx:after:swap", show);
