// Live updates: parts of a page that reload themselves, and relative times.

import { fill, words } from "./words.js";

const skew = Date.parse(document.documentElement.dataset.now) - Date.now();
const requested = new WeakMap();
const stale = new WeakSet();

// Dispatch a `tick` to each element with data-every at that interval (seconds) while the page is
// visible. While the event stream is open, an event of a kind in data-on ("reading status")
// triggers an earlier tick, and ticks without an event are less frequent.
function tick(now) {
  for (const element of document.querySelectorAll("[data-every]")) {
    const every = element.dataset.every * 1000;
    if (!requested.has(element)) requested.set(element, now);
    const wait = stale.has(element) ? every * 0.4 : live.open && element.dataset.on ? every * 6 : every;
    // A response in transit may be older than the event.
    if (now - requested.get(element) < wait - 100 || element.matches(".htmx-request")) continue;
    if (element.closest("details:not([open])")) continue;
    requested.set(element, now);
    stale.delete(element);
    element.dispatchEvent(new CustomEvent("tick"));
  }
}

// The event stream (docs/api/users.md) of the page's device, or of all devices. Each event is
// dispatched at the document as `telemetry:event`: {kind, device_id, command_id}. The kind is
// "reading", "status", "command", or "ready" (refetch: the page may be out of date). A hidden page
// closes the stream.
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
      this.source.addEventListener(kind, (event) => this.receive(kind, JSON.parse(event.data)));
    }
    this.source.addEventListener("error", () => (this.open = false));
  },

  close() {
    this.source?.close();
    this.source = null;
    this.open = false;
  },

  receive(kind, data) {
    this.open = true;
    for (const element of document.querySelectorAll("[data-on]")) {
      if (kind === "ready" || element.dataset.on.split(" ").includes(kind)) stale.add(element);
    }
    document.dispatchEvent(new CustomEvent("telemetry:event", { detail: { kind, ...data } }));
    tick(performance.now());
  },
};

if (document.querySelector("[data-on]")) {
  live.follow();
  document.addEventListener("visibilitychange", () => live.follow());
  // A browser reconnects when a stream breaks off, but not after an error status: retry here.
  setInterval(() => live.follow(), 30000);
}

// Same format as templatetags/display.py.
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

// Focus the first invalid field of a rejected form.
document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (detail.ctx.response?.status === 422) document.querySelector("[aria-invalid='true']")?.focus();
});

// Update the URL after a search, so that reloading or sharing it shows the same list.
document.addEventListener("htmx:after:swap", () => {
  const address = document.querySelector("[data-address]")?.dataset.address;
  if (address && address !== location.pathname + location.search) {
    history.replaceState(history.state, "", address);
  }
});
