// One chart of one key: a mean line in a band from least to greatest, drawn by uPlot.

import { fill, language } from "../words.js";
import { grouped, labels, speaker } from "./numbers.js";
import { single, statistics, withGaps } from "./series.js";

const ROOM_FOR_DOTS = 8; // pixels
const ROOM_FOR_A_BOLD_LINE = 3; // pixels a value; nearer together a fine line tells as much, and is drawn in half the time
const AXIS_FONT = '12px system-ui, sans-serif';

// Rows as uPlot takes them: step, then labels by default and where year, month, day, hour, … change.
// `day` is how a language writes one: "{D} {MMM}".
function timeLabels(day) {
  return [
    [31536000, "{YYYY}", null, null, null, null, null, null, 1],
    [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, day, "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", `\n${day} {YYYY}`, null, `\n${day}`, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", `\n${day} {YYYY}`, null, `\n${day}`, null, null, null, 1],
  ];
}

// The months as uPlot looks for them.
const MONTHS = { MMM: Array.from({ length: 12 }, (_, month) => new Date(2000, month).toLocaleDateString(language, { month: "short" })) };

function strong(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

// From `rgb(1, 2, 3)`, which is how browsers tell a colour.
function translucent(color) {
  return color.replaceAll(",", " ").replace(")", " / 0.2)");
}

// Pixels that the longest label of an axis takes.
function roomFor(_, labels) {
  return 16 + 7 * Math.max(4, ...(labels ?? []).map((label) => label.length));
}

// A flat line lies in the middle, not on the edge.
function verticalRange(_, low, high) {
  if (low === null) return [0, 1];
  if (low === high) {
    const room = Math.abs(low) * 0.05 || 1.2;
    return [low - room, high + room];
  }
  return uPlot.rangeNum(low, high, 0.1, true);
}

// A bucket between two gaps has no line to be seen by.
function alone(values) {
  return values.flatMap((value, i) => (value !== null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
}

export class Chart {
  // `say` are the sentences, `clock` formats instants, `selected(from, to)` is told of a dragged part.
  constructor(figure, { zone, say, clock, selected, reset }) {
    Object.assign(this, { figure, zone, say, clock, selected, reset });
    this.key = figure.dataset.key;
    this.label = figure.dataset.label || this.key;
    this.number = speaker(figure.dataset);
    this.plot = figure.querySelector(".plot");
    this.readout = figure.querySelector(".readout");
  }

  get open() {
    return this.figure.closest("details")?.open ?? true;
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
    const points = { size: 4, width: 0, fill: () => this.color("color") };
    return {
      width: this.plot.clientWidth,
      height: this.plot.clientHeight,
      legend: { show: false },
      fmtDate: (template) => uPlot.fmtDate(template, MONTHS),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), this.zone),
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false, dist: 6 },
        sync: { key: "history", scales: ["x", null] },
        points: { size: 8 },
        bind: { dblclick: () => () => this.reset() },
      },
      scales: { x: { range: () => this.range }, y: { range: verticalRange } },
      axes: [
        { ...axis, values: timeLabels(this.say.day), space: 72, size: 46, gap: 8, grid: { show: false } },
        { ...axis, size: roomFor, space: 28, values: labels },
      ],
      series: [
        {},
        { stroke: () => this.color("color"), width: this.lineWidth(), points: { ...points, show: true, filter: (plot) => this.dots(plot) } },
        { points: { show: false } },
        { points: { show: false } },
      ],
      bands: [{ series: [3, 2], fill: () => translucent(this.color("color")) }],
      hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)], setSelect: [(plot) => this.select(plot)] },
    };
  }

  lineWidth() {
    return this.plot.clientWidth < ROOM_FOR_A_BOLD_LINE * this.buckets[0].length ? 1 : 1.75;
  }

  // Readings are dots where there is room between them.
  dots(plot) {
    const room = plot.bbox.width / devicePixelRatio / plot.data[0].length;
    return this.raw && room >= ROOM_FOR_DOTS ? null : alone(plot.data[1]);
  }

  // What was dragged over is told once; the other charts, which move in step, tell the same.
  select(plot) {
    const { left, width } = plot.select;
    if (!width) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.selected(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  // The part of time alone, ahead of the values that belong to it.
  turn(range) {
    this.range = range;
    this.uplot?.setScale("x", { min: range[0], max: range[1] });
  }

  show(columns, { range, resolution, interval }) {
    this.columns = columns;
    this.range = range;
    this.resolution = resolution;
    this.raw = single(columns);
    this.statistics = statistics(columns);
    this.buckets = withGaps(columns, { resolution, interval, raw: this.raw });
    if (this.statistics) delete this.plot.dataset.empty;
    else this.plot.dataset.empty = this.say.empty;
    if (this.uplot) {
      this.uplot.series[1].width = this.lineWidth();
      this.uplot.setData(this.buckets);
    } else {
      this.uplot = new uPlot(this.options(), this.buckets, this.plot);
    }
    this.plot.setAttribute("aria-label", `${this.label}: ${this.summary() || this.say.empty}`);
    this.showStatistics();
    this.read(this.uplot.cursor.idx);
  }

  summary() {
    if (!this.statistics) return "";
    const { min, mean, max } = this.statistics;
    const blanks = { min: this.number(min), mean: this.number(mean), max: this.number(max) };
    return fill(min === max ? this.say.throughout : this.say.summary, blanks);
  }

  showStatistics() {
    for (const place of this.figure.querySelectorAll("[data-stat]")) {
      const value = this.statistics?.[place.dataset.stat];
      const say = place.dataset.stat === "count" ? (count) => grouped(String(count)) : this.number;
      place.textContent = value === undefined ? "–" : say(value);
    }
  }

  read(index) {
    const [t, avg, min, max] = this.buckets;
    if (index == null || avg[index] == null) {
      // Where a row of figures below says it, it is not said twice.
      return this.readout.replaceChildren(this.figure.querySelector("[data-stat]") ? "" : this.summary());
    }
    const band = min[index] < max[index] ? ` (${fill(this.say.band, { min: this.number(min[index]), max: this.number(max[index]) })})` : "";
    this.readout.replaceChildren(strong(this.number(avg[index])), `${band}  ${this.when(t[index])}`);
  }

  // A reading's instant, or the bucket around it.
  when(middle) {
    if (this.raw) return this.clock.format(middle * 1000);
    const from = middle - this.resolution / 2;
    return this.clock.formatRange(from * 1000, (from + this.resolution) * 1000);
  }

  // The cursor one value further, for whoever has no mouse.
  step(by) {
    const filled = this.buckets[1].flatMap((value, i) => (value === null ? [] : [i]));
    const at = filled.indexOf(this.uplot.cursor.idx);
    const next = filled.at(at < 0 ? -1 : Math.min(filled.length - 1, Math.max(0, at + by)));
    if (next === undefined) return;
    this.uplot.setCursor({ left: this.uplot.valToPos(this.buckets[0][next], "x"), top: 10 });
  }

  resize() {
    if (this.uplot && this.plot.clientWidth) this.uplot.setSize({ width: this.plot.clientWidth, height: this.plot.clientHeight });
  }

  redraw() {
    this.uplot?.redraw(false);
  }

  destroy() {
    this.uplot?.destroy();
    this.uplot = undefined;
  }
}
