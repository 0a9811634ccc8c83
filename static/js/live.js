// What moves by itself: parts of a page that ask for themselves again, and how long ago things were.

import { fill, words } from "./words.js";

const skew = Date.parse(document.documentElement.dataset.now) - Date.now();
const asked = new WeakMap();
const stale = new WeakSet();

// Each element with data-every gets a `tick` that often (seconds), while anybody can see it. Where
// events are heard of, one of its kinds (data-on="reading status") brings the next tick forward, and
// without any it comes less often.
function tick(now) {
  for (const element of document.querySelectorAll("[data-every]")) {
    const every = element.dataset.every * 1000;
    if (!asked.has(element)) asked.set(element, now);
    const wait = stale.has(element) ? every * 0.4 : live.open && element.dataset.on ? every * 6 : every;
    // What is on its way may have been made before the event.
    if (now - asked.get(element) < wait - 100 || element.matches(".htmx-request")) continue;
    if (element.closest("details:not([open])")) continue;
    asked.set(element, now);
    stale.delete(element);
    element.dispatchEvent(new CustomEvent("tick"));
  }
}

// The stream of events (docs/api/users.md), of the page's one device or of all. Each is sent on as
// `telemetry:event` at the document: {kind, device_id, command_id}, where the kind is "reading",
// "status", "command", or "ready" when whatever the page knows may be old. A hidden page closes it.
const live = {
  url: document.documentElement.dataset.live,
  open: false,
  source: null,

  follow() {
    if (!this.url || document.hidden) return this.close();
    if (this.source && this.source.readyState !== EventSource.CLOSED) return;
    const device = document.querySelector("[data-device]")?.dataset.device;
    const url = `${this.url}/api/v1/events${device ? `?device=${device}` : ""}`;
    this.source = new EventSource(url, { withCredentials: true });
    for (const kind of ["ready", "reading", "status", "command"]) {
      this.source.addEventListener(kind, (event) => this.hear(kind, JSON.parse(event.data)));
    }
    this.source.addEventListener("error", () => (this.open = false));
  },

  close() {
    this.source?.close();
    this.source = null;
    this.open = false;
  },

  hear(kind, told) {
    this.open = true;
    for (const element of document.querySelectorAll("[data-on]")) {
      if (kind === "ready" || element.dataset.on.split(" ").includes(kind)) stale.add(element);
    }
    document.dispatchEvent(new CustomEvent("telemetry:event", { detail: { kind, ...told } }));
    tick(performance.now());
  },
};

if (document.querySelector("[data-on]")) {
  live.follow();
  document.addEventListener("visibilitychange", () => live.follow());
  // A browser comes again by itself when a stream breaks off, but not when it was refused.
  setInterval(() => live.follow(), 30000);
}

// As templatetags/shown.py says it.
function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return words.now;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [unit, name] = units.find(([unit]) => size >= unit);
  return fill(seconds > 0 ? words.ago : words.in, { time: `${Math.floor(size / unit)} ${name}` });
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
