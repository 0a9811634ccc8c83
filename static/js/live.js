// What moves by itself: parts of a page that ask for themselves again, and how long ago things were.

const skew = Date.parse(document.documentElement.dataset.now) - Date.now();
const due = new WeakMap();

// Each element with data-every gets a `tick` that often (seconds), while anybody can see it.
function tick(now) {
  for (const element of document.querySelectorAll("[data-every]")) {
    const every = element.dataset.every * 1000;
    const last = due.get(element);
    if (last === undefined) due.set(element, now);
    if (now - (last ?? now) < every - 100 || element.closest("details:not([open])")) continue;
    due.set(element, now);
    element.dispatchEvent(new CustomEvent("tick"));
  }
}

// The words of templatetags/shown.py.
function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return "now";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [unit, name] = units.find(([unit]) => size >= unit);
  const count = Math.floor(size / unit);
  return seconds > 0 ? `${count} ${name} ago` : `in ${count} ${name}`;
}

function age() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.now() + skew - Date.parse(time.dateTime)) / 1000;
    const text = Math.abs(seconds) < 30 * 86400 ? ago(seconds) : time.textContent;
    if (text !== time.textContent) time.textContent = text;
  }
}

setInterval(() => {
  if (document.hidden) return;
  tick(performance.now());
  age();
}, 500);

// A form that comes back with faults: on to the first of them.
document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (detail.ctx.response?.status === 422) document.querySelector("[aria-invalid='true']")?.focus();
});

// The address follows a search, so that reloading and sharing it show the same.
document.addEventListener("htmx:after:swap", () => {
  const address = document.querySelector("[data-address]")?.dataset.address;
  if (address && address !== location.pathname + location.search) {
    history.replaceState(history.state, "", address);
  }
});
