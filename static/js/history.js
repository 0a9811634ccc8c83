// <telemetry-history>: a chart for each key, of the range in the address, alive when it ends now.

const HEIGHT = 172;
const KEYS_PER_REQUEST = 20;
const SILENCES = 2.5; // a longer gap than this many intervals breaks the line
const REFRESH = { shortest: 5000, longest: 60000 }; // milliseconds
const AXIS_FONT = '12px system-ui, sans-serif';

// Rows as uPlot takes them: step, then labels by default and where year, month, day, hour, … change.
const TIME_LABELS = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];

// As templatetags/shown.py says numbers.
function number(value) {
  const size = Math.abs(value);
  if (size && (size < 0.00005 || size >= 1e15)) return Number(value.toPrecision(3)).toString();
  const decimals = size < 1 ? 4 : size < 10 ? 3 : size < 1000 ? 2 : 1;
  return grouped(String(Number(value.toFixed(decimals))));
}

function fixed(value, decimals) {
  return grouped((Number(value.toFixed(decimals)) || 0).toFixed(decimals)); // no -0.0
}

function inUnit(text, unit) {
  if (!unit) return text;
  return unit === "°" ? text + unit : `${text}\u202f${unit}`;
}

function grouped(text) {
  const [whole, part] = text.split(".");
  const digits = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return part ? `${digits}.${part}` : digits;
}

// Labels of an axis, all with the decimals of the step between them.
function labels(_, values, axis, space, step) {
  const decimals = (String(step).split(".")[1] ?? "").length;
  const plain = step >= 1e-6 && Math.max(...values.map(Math.abs)) < 1e15;
  return values.map((value) => (plain ? grouped(value.toFixed(decimals)) : number(value)));
}

function say(element, ...parts) {
  element.replaceChildren(...parts);
}

function strong(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

// From `rgb(1, 2, 3)`, which is how browsers tell a colour.
function translucent(color) {
  return color.replaceAll(",", " ").replace(")", " / 0.2)");
}

// The buckets in which a key has a value, of those that it shares with others.
function ofKey(t, columns) {
  const filled = columns.count.flatMap((count, i) => (count ? [i] : []));
  const pick = (column) => filled.map((i) => column[i]);
  return { t: pick(t), avg: pick(columns.avg), min: pick(columns.min), max: pick(columns.max), count: pick(columns.count) };
}

// A null between two buckets that lie further apart than `longest` seconds.
function withGaps({ t, avg, min, max }, longest) {
  const columns = [[], [], [], []];
  t.forEach((time, i) => {
    if (i && time - t[i - 1] > longest) {
      [t[i - 1] + longest / 2, null, null, null].forEach((value, c) => columns[c].push(value));
    }
    [time, avg[i], min[i], max[i]].forEach((value, c) => columns[c].push(value));
  });
  return columns;
}

function summary({ avg, min, max, count }, number) {
  const total = count.reduce((sum, n) => sum + n, 0);
  const mean = avg.reduce((sum, value, i) => sum + value * count[i], 0) / total;
  const least = min.reduce((a, b) => Math.min(a, b));
  const most = max.reduce((a, b) => Math.max(a, b));
  if (least === most) return `${number(least)} throughout`;
  return `${number(least)} to ${number(most)}, mean ${number(mean)}`;
}

// Pixels that the longest label of an axis takes.
function roomFor(_, labels) {
  return 16 + 7 * Math.max(4, ...(labels ?? []).map((label) => label.length));
}

function duration(seconds) {
  const [unit, name] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([unit]) => seconds >= unit);
  return `${seconds / unit} ${name}`;
}

class Chart {
  constructor(figure, zone) {
    this.figure = figure;
    this.key = figure.dataset.key;
    const { label, unit, decimals } = figure.dataset;
    this.label = label || this.key;
    this.number = (value) => inUnit(decimals && Math.abs(value) < 1e15 ? fixed(value, decimals) : number(value), unit);
    this.plot = figure.querySelector(".plot");
    this.readout = figure.querySelector(".readout");
    this.zone = zone;
    this.time = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }

  color(part) {
    return getComputedStyle(this.plot)[part];
  }

  options() {
    const axis = {
      font: AXIS_FONT,
      stroke: () => this.color("fill"),
      grid: { stroke: () => this.color("stroke"), width: 1 },
      ticks: { show: false },
    };
    return {
      width: this.plot.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), this.zone),
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "history" }, points: { size: 8 } },
      scales: { x: { range: () => this.range }, y: { range: (_, low, high) => this.verticalRange(low, high) } },
      axes: [
        { ...axis, values: TIME_LABELS, space: 72, size: 46, gap: 8, grid: { show: false } },
        { ...axis, size: roomFor, space: 28, values: labels },
      ],
      series: [
        {},
        { stroke: () => this.color("color"), width: 1.75, points: { show: true, size: 4, width: 0, fill: () => this.color("color"), filter: (plot) => this.alone(plot) } },
        { points: { show: false } },
        { points: { show: false } },
      ],
      bands: [{ series: [3, 2], fill: () => translucent(this.color("color")) }],
      hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)] },
    };
  }

  // A flat line lies in the middle, not on the edge.
  verticalRange(low, high) {
    if (low === null) return [0, 1];
    if (low === high) {
      const room = Math.abs(low) * 0.05 || 1.2;
      return [low - room, high + room];
    }
    return uPlot.rangeNum(low, high, 0.1, true);
  }

  // A bucket between two gaps has no line to be seen by.
  alone(plot) {
    const values = plot.data[1];
    return values.flatMap((value, i) => (value !== null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
  }

  show(columns, { range, longest }) {
    this.columns = columns;
    this.range = range;
    this.buckets = withGaps(columns, longest);
    const empty = columns.t.length === 0;
    if (empty) this.plot.dataset.empty = "No values in this range";
    else delete this.plot.dataset.empty;
    if (this.uplot) this.uplot.setData(this.buckets);
    else this.uplot = new uPlot(this.options(), this.buckets, this.plot);
    const words = empty ? "" : summary(columns, this.number);
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", `${this.label}: ${words || "no values in this range"}`);
    this.read(this.uplot.cursor.idx);
  }

  read(index) {
    const [t, avg, min, max] = this.buckets;
    if (!this.columns.t.length) return say(this.readout);
    if (index == null || avg[index] == null) return say(this.readout, summary(this.columns, this.number));
    const band = min[index] < max[index] ? ` (${this.number(min[index])} to ${this.number(max[index])})` : "";
    say(this.readout, strong(this.number(avg[index])), `${band}  ${this.time.format(t[index] * 1000)}`);
  }

  resize() {
    if (this.uplot && this.plot.clientWidth) this.uplot.setSize({ width: this.plot.clientWidth, height: HEIGHT });
  }

  redraw() {
    this.uplot?.redraw(false);
  }
}

class TelemetryHistory extends HTMLElement {
  connectedCallback() {
    this.gone = new AbortController();
    const { signal } = this.gone;
    this.charts = [...this.querySelectorAll("[data-key]")].map((figure) => new Chart(figure, this.dataset.zone));
    this.addEventListener("click", (event) => this.choose(event), { signal });
    this.addEventListener("toggle", () => this.load(), { signal, capture: true });
    addEventListener("popstate", () => this.follow(), { signal });
    document.addEventListener("visibilitychange", () => this.load(), { signal });
    this.sizes = new ResizeObserver(() => this.charts.forEach((chart) => chart.resize()));
    this.sizes.observe(this);
    this.watchColors(signal);
    this.load();
  }

  disconnectedCallback() {
    this.gone.abort();
    this.request?.abort();
    this.sizes.disconnect();
    this.themes.disconnect();
    clearTimeout(this.timer);
    this.charts.forEach((chart) => chart.uplot?.destroy());
  }

  watchColors(signal) {
    const redraw = () => this.charts.forEach((chart) => chart.redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
    this.themes = new MutationObserver(redraw);
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  choose(event) {
    const link = event.target.closest(".ranges a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    this.select(link);
  }

  follow() {
    const name = new URLSearchParams(location.search).get("range");
    this.initial ??= this.querySelector(".ranges [aria-current]");
    this.select(this.querySelector(`.ranges a[data-name="${CSS.escape(name ?? "")}"]`) ?? this.initial);
  }

  select(link) {
    this.initial ??= this.querySelector(".ranges [aria-current]");
    this.querySelector(".ranges [aria-current]")?.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    this.querySelector(".words").textContent = link.dataset.words;
    this.dataset.seconds = link.dataset.seconds;
    this.load();
  }

  // Every chart in sight anew. What is shown stays until the new is there; an older wish is dropped.
  async load() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    this.request?.abort();
    const request = (this.request = new AbortController());
    const open = this.charts.filter((chart) => chart.figure.closest("details").open);
    if (!open.length) return;
    const to = this.dataset.end ? Math.floor(this.dataset.end) + 1 : Math.ceil(Date.now() / 1000);
    const from = to - this.dataset.seconds;
    try {
      const points = Math.min(1000, Math.max(120, Math.round(open[0].plot.clientWidth)));
      const answers = await this.fetchAll(open, from, to, points, request.signal);
      this.draw(open, answers, from, to);
    } catch (error) {
      if (request.signal.aborted) return;
      this.trouble(error.message);
      this.again(REFRESH.longest / 4);
    }
  }

  async fetchAll(charts, from, to, points, signal) {
    const series = {};
    let resolution = 1;
    for (let first = 0; first < charts.length; first += KEYS_PER_REQUEST) {
      const query = new URLSearchParams({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), points, time_zone: this.dataset.zone });
      for (const { key } of charts.slice(first, first + KEYS_PER_REQUEST)) query.append("key", key);
      const response = await fetch(`${this.dataset.series}?${query}`, { signal, headers: { Accept: "application/json" } });
      if (response.status === 401 || response.status === 403) throw new Error("You have been signed out. Reload this page to sign in again.");
      if (!response.ok) throw new Error("The history could not be loaded; it is tried again.");
      const answer = await response.json();
      for (const [key, columns] of Object.entries(answer.series)) series[key] = ofKey(answer.t, columns);
      resolution = answer.resolution;
    }
    return { series, resolution };
  }

  draw(charts, { series, resolution }, from, to) {
    const longest = SILENCES * Math.max(resolution, this.dataset.interval);
    for (const chart of charts) chart.show(series[chart.key], { range: [from, to], longest });
    this.querySelector(".resolution").textContent = `Line: mean of every ${duration(resolution)}. Band: least to greatest value in it.`;
    this.trouble("");
    if (!this.dataset.end) this.again(Math.min(REFRESH.longest, Math.max(REFRESH.shortest, resolution * 500)));
  }

  trouble(text) {
    const place = this.querySelector(".trouble");
    place.textContent = text;
    place.hidden = !text;
  }

  again(milliseconds) {
    this.timer = setTimeout(() => this.load(), milliseconds);
  }
}

customElements.define("telemetry-history", TelemetryHistory);
