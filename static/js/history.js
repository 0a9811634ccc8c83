// <telemetry-history>: one chart per key for the time range in the URL.

import { Chart } from "./charts/chart.js";
import { duration } from "./charts/numbers.js";
import { fetchSeries, Refused } from "./charts/series.js";
import { fillTable } from "./charts/table.js";
import { between, fromUrl, iso, moved, presetOf, same, span, toUrl, zoomed } from "./charts/view.js";
import { fill, language } from "./words.js";

const REFRESH = { shortest: 5000, longest: 60000 }; // milliseconds
const EVENT = { shortest: 1000, ofABucket: 0.1 }; // minimum milliseconds between two loads caused by events
const PATIENCE = 80; // milliseconds to wait for new values before the charts show the new range
const ONE_STEP = 1000; // milliseconds within which several moves share one entry of the browser's history
const MOVE = 0.25; // share of the visible range that an arrow key moves
const KEYS = {
  ArrowLeft: { move: -MOVE },
  ArrowRight: { move: MOVE },
  "+": { zoom: 0.5 },
  "=": { zoom: 0.5 },
  "-": { zoom: 2 },
  "−": { zoom: 2 },
};

class TelemetryHistory extends HTMLElement {
  connectedCallback() {
    this.gone = new AbortController();
    const { signal } = this.gone;
    const { zone, say } = this.dataset;
    this.say = JSON.parse(say);
    const parts = { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
    const dates = language === "en" ? "en-GB" : language;
    this.clocks = {
      fine: new Intl.DateTimeFormat(dates, { ...parts, second: "2-digit" }),
      words: new Intl.DateTimeFormat(dates, { ...parts, year: "numeric" }),
      field: new Intl.DateTimeFormat("sv-SE", { ...parts, year: "numeric", month: "2-digit", day: "2-digit" }),
    };
    this.presets = new Map([...this.querySelectorAll(".ranges a")].map(({ dataset }) => [dataset.name, Number(dataset.seconds)]));
    this.initial = { seconds: Number(this.dataset.seconds), end: null };
    this.initialKeys = this.keys();
    this.view = fromUrl(location.search, this.presets, this.initial);
    this.charts = [...this.querySelectorAll("figure[data-key]")].map((figure) => this.chart(figure));
    this.addEventListener("click", (event) => this.press(event), { signal });
    this.addEventListener("keydown", (event) => this.type(event), { signal });
    this.addEventListener("wheel", (event) => this.wheel(event), { signal, passive: false });
    this.addEventListener("pointerdown", (event) => this.grab(event), { signal, capture: true });
    this.addEventListener("toggle", () => this.load(), { signal, capture: true });
    addEventListener("popstate", () => this.follow(), { signal });
    document.addEventListener("visibilitychange", () => this.load(), { signal });
    document.addEventListener("telemetry:event", ({ detail }) => this.onEvent(detail), { signal });
    this.sizes = new ResizeObserver(() => this.charts.forEach((chart) => chart.resize()));
    this.sizes.observe(this);
    this.watchColors(signal);
    this.load();
    this.tell();
  }

  disconnectedCallback() {
    this.gone.abort();
    this.request?.abort();
    this.sizes.disconnect();
    this.themes.disconnect();
    clearTimeout(this.timer);
    this.charts.forEach((chart) => chart.destroy());
  }

  chart(figure) {
    return new Chart(figure, {
      zone: this.dataset.zone,
      say: this.say,
      clock: this.clocks.fine,
      selected: (from, to) => this.select(from, to),
      reset: () => this.go(zoomed(this.view, 2, undefined, this.now)),
    });
  }

  watchColors(signal) {
    const redraw = () => this.charts.forEach((chart) => chart.redraw());
    for (const medium of ["(prefers-color-scheme: dark)", "print"]) matchMedia(medium).addEventListener("change", redraw, { signal });
    this.themes = new MutationObserver(redraw);
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    // Print in the light theme.
    const { dataset } = document.documentElement;
    addEventListener("beforeprint", () => ([this.theme, dataset.theme] = [dataset.theme, "light"]), { signal });
    addEventListener("afterprint", () => (dataset.theme = this.theme), { signal });
  }

  // The end of the live range: the time of the last reading if the device is offline, else now.
  get now() {
    return this.dataset.end ? Math.floor(this.dataset.end) + 1 : Math.ceil(Date.now() / 1000);
  }

  keys() {
    return [...this.querySelectorAll("figure[data-key]")].map((figure) => figure.dataset.key);
  }

  // Handle links to other ranges and keys without loading a new page.
  press(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const target = event.target.closest("a:is([data-seconds], [data-move], [data-zoom], [data-live], [data-key], [data-export])");
    if (!target) return;
    const { seconds, move, zoom, live, key } = target.dataset;
    if ("export" in target.dataset) return this.aim(target);
    event.preventDefault();
    if (key) return this.choose(key);
    if (seconds) this.go({ seconds: Number(seconds), end: null });
    if (move) this.go(moved(this.view, Number(move), this.now));
    if (zoom) this.go(zoomed(this.view, Number(zoom), undefined, this.now));
    if (live !== undefined) this.go({ seconds: this.view.seconds, end: null });
  }

  type(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const plot = event.target.closest(".plot");
    if (event.shiftKey && plot && event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.charts.find((chart) => chart.plot === plot)?.step(event.key === "ArrowLeft" ? -1 : 1);
      return;
    }
    const wish = KEYS[event.key];
    if (!wish) return;
    event.preventDefault();
    this.go(wish.move ? moved(this.view, wish.move, this.now) : zoomed(this.view, wish.zoom, undefined, this.now));
  }

  wheel(event) {
    const chart = this.charts.find(({ plot }) => plot.contains(event.target));
    if (!chart?.uplot || !event.ctrlKey) return;
    event.preventDefault();
    const at = chart.uplot.posToVal(event.clientX - chart.uplot.over.getBoundingClientRect().left, "x");
    this.go(zoomed(this.view, event.deltaY > 0 ? 1.25 : 0.8, at, this.now));
  }

  // Drag the time range with a finger, or with the mouse and Shift.
  grab(event) {
    const chart = this.charts.find(({ plot }) => plot.contains(event.target));
    if (!chart?.uplot || event.button || !(event.shiftKey || event.pointerType === "touch")) return;
    event.stopPropagation();
    const over = chart.uplot.over;
    const grabbed = new AbortController();
    const { signal } = grabbed;
    const share = ({ clientX }) => (event.clientX - clientX) / over.clientWidth;
    const block = (mouse) => mouse.stopPropagation();
    this.addEventListener("mousedown", block, { signal, capture: true });
    addEventListener("pointermove", (move) => this.turn(moved(this.view, share(move), this.now)), { signal });
    addEventListener("pointercancel", () => grabbed.abort(this.turn(this.view)), { signal });
    addEventListener("pointerup", (up) => {
      grabbed.abort();
      if (Math.abs(share(up)) > 0.01) this.go(moved(this.view, share(up), this.now));
    }, { signal });
  }

  // Synchronized charts report one selection several times: handle the first.
  select(from, to) {
    if (this.selecting) return;
    this.selecting = true;
    queueMicrotask(() => (this.selecting = false));
    this.go(between(from, to, this.now));
  }

  choose(key) {
    const chosen = this.keys();
    const next = chosen.includes(key) ? chosen.filter((other) => other !== key) : [...chosen, key];
    if (!next.length) return;
    const asked = new URLSearchParams(location.search);
    asked.delete("key");
    next.forEach((other) => asked.append("key", other));
    history.pushState(null, "", `?${asked}`.replaceAll("%3A", ":"));
    this.showKeys(next);
    this.load();
  }

  // Render one figure per key, in the order of the chips.
  showKeys(keys) {
    const grid = this.querySelector(".grid");
    const template = this.querySelector("template");
    if (!template) return;
    for (const chip of this.querySelectorAll("a[data-key]")) {
      const { key, label, unit, decimals } = chip.dataset;
      const at = this.charts.findIndex((chart) => chart.key === key);
      chip.toggleAttribute("aria-current", false);
      if (keys.includes(key)) {
        chip.setAttribute("aria-current", "true");
        if (at >= 0) {
          grid.append(this.charts[at].figure);
          continue;
        }
        const figure = template.content.cloneNode(true).querySelector("figure");
        Object.assign(figure.dataset, { key, label, unit, decimals });
        figure.querySelector(".key").textContent = [label, unit].filter(Boolean).join(" ");
        grid.append(figure);
        this.charts.push(this.chart(figure));
      } else if (at >= 0) {
        this.charts[at].destroy();
        this.charts[at].figure.remove();
        this.charts.splice(at, 1);
      }
    }
  }

  // Show another time range and store it in the URL.
  go(view) {
    if (same(view, this.view)) return;
    const at = performance.now();
    const change = at - this.wentAt < ONE_STEP ? "replaceState" : "pushState";
    this.wentAt = at;
    history[change](null, "", toUrl(view, this.presets, location.search));
    this.shift(view);
  }

  follow() {
    this.wentAt = undefined;
    const keys = new URLSearchParams(location.search).getAll("key");
    this.showKeys(keys.length ? keys : this.initialKeys);
    this.shift(fromUrl(location.search, this.presets, this.initial));
  }

  shift(view) {
    this.view = view;
    this.turnSoon();
    this.tell();
    this.setAttribute("aria-busy", "true");
    this.load();
  }

  // Values that load within PATIENCE are drawn once. Otherwise the charts show the new range first.
  turnSoon() {
    this.turning ??= setTimeout(() => {
      this.turning = undefined;
      this.turn(this.view);
    }, PATIENCE);
  }

  turn(view) {
    const { from, to } = span(view, this.now);
    this.charts.forEach((chart) => chart.turn([from, to]));
  }

  // Show the time range in the links, the text and the fields.
  tell() {
    const { from, to } = span(this.view, this.now);
    const preset = presetOf(this.view, this.presets);
    for (const link of this.querySelectorAll(".ranges a")) {
      if (link.dataset.name === preset) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const words = this.querySelector(".ranges [aria-current]")?.dataset.words;
    this.querySelector(".words").textContent = words ?? this.clocks.words.formatRange(from * 1000, to * 1000);
    this.toggleAttribute("data-paused", this.view.end !== null);
    for (const field of this.querySelectorAll("input[type='datetime-local']")) {
      const time = field.name === "from" ? from : to;
      field.value = this.clocks.field.format(time * 1000).replace(" ", "T");
    }
  }

  // Point a download link to the visible range and keys.
  aim(link) {
    const { from, to } = span(this.view, this.now);
    const url = new URL(link.href);
    url.searchParams.set("from", iso(from));
    url.searchParams.set("to", iso(to));
    if (link.dataset.export === "keys") {
      url.searchParams.delete("key");
      this.keys().forEach((key) => url.searchParams.append("key", key));
    }
    link.href = url;
  }

  // Load all open charts. The old values stay visible until then; an older request is aborted.
  async load() {
    clearTimeout(this.timer);
    this.soonest = undefined;
    if (document.hidden) return;
    this.request?.abort();
    const { signal } = (this.request = new AbortController());
    const open = this.charts.filter((chart) => chart.open);
    if (!open.length) return;
    const { from, to } = span(this.view, this.now);
    const points = Math.min(1000, Math.max(120, Math.round(open[0].plot.clientWidth)));
    try {
      const keys = open.map((chart) => chart.key);
      const answer = await fetchSeries(this.dataset.series, keys, { from, to, points, zone: this.dataset.zone, signal });
      this.draw(open, answer, [from, to]);
    } catch (error) {
      if (signal.aborted) return;
      this.trouble([401, 403].includes(Number(error.message)) ? this.say.signed_out : error instanceof Refused ? this.say.refused : this.say.away);
      this.timer = setTimeout(() => this.load(), REFRESH.longest / 4);
    }
  }

  draw(charts, { series, resolution }, range) {
    this.trouble("");
    this.removeAttribute("aria-busy");
    this.turning = clearTimeout(this.turning);
    const interval = Number(this.dataset.interval);
    for (const chart of charts) chart.show(series[chart.key], { range, resolution, interval });
    const raw = charts.every((chart) => chart.raw);
    this.querySelector(".resolution").textContent = fill(raw ? this.say.each : this.say.mean, { step: duration(resolution) });
    const table = this.querySelector("details[open] > .table > table");
    if (table) this.fillTable(table, charts);
    if (this.view.end === null && !this.dataset.end) {
      const pause = Math.min(REFRESH.longest, Math.max(REFRESH.shortest, resolution * 500));
      const soonest = Math.min(pause, Math.max(EVENT.shortest, resolution * 1000 * EVENT.ofABucket));
      this.soonest = performance.now() + soonest;
      this.timer = setTimeout(() => this.load(), pause);
    }
  }

  // A reading has arrived: load the charts earlier than scheduled.
  onEvent({ kind }) {
    if (!this.soonest || kind !== "reading") return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), this.soonest - performance.now());
    this.soonest = undefined;
  }

  fillTable(table, charts) {
    const say = ({ number }, avg, min, max) => (min < max ? `${number(avg)} (${fill(this.say.band, { min: number(min), max: number(max) })})` : number(avg));
    fillTable(table, charts, { clock: this.clocks.fine, say, time: this.say.time });
  }

  trouble(text) {
    const place = this.querySelector(".trouble");
    place.textContent = text;
    place.hidden = !text;
    if (text) this.removeAttribute("aria-busy");
  }
}

customElements.define("telemetry-history", TelemetryHistory);
