// A chart of one key: a line of averages and a band from minimum to maximum, drawn by uPlot.

import { fill, language } from "../words.js";
import { grouped, labels, speaker } from "./numbers.js";
import { single, statistics, withGaps } from "./series.js";

const ROOM_FOR_DOTS = 8; // pixels
const ROOM_FOR_A_BOLD_LINE = 3; // pixels per value; below that a thin line is as readable and takes half the time to draw
const AXIS_FONT = '12px system-ui, sans-serif';

// Rows in uPlot's format: step, default label, and labels where year, month, day, hour, … change.
// `day` is the day format of the language: "{D} {MMM}".
function timeLabels(day) {
  return [
    [31536000, "{YYYY}", null, null, null, null, null, null, 1],
    [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, day, "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", `\n${day} {YYYY}`, null, `\n${day}`, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", `\n${day} {YYYY}`, null, `\n${day}`, null, null, null, 1],
  ];
}

// Month names in uPlot's format.
const MONTHS = { MMM: Array.from({ length: 12 }, (_, month) => new Date(2000, month).toLocaleDateString(language, { month: "short" })) };

function strong(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

// The color is in the computed format `rgb(1, 2, 3)`.
function translucent(color) {
  return color.replaceAll(",", " ").replace(")", " / 0.2)");
}

// Width in pixels of the longest label of an axis.
function roomFor(_, labels) {
  return 16 + 7 * Math.max(4, ...(labels ?? []).map((label) => label.length));
}

// Center a flat line vertically.
function verticalRange(_, low, high) {
  if (low === null) return [0, 1];
  if (low === high) {
    const room = Math.abs(low) * 0.05 || 1.2;
    return [low - room, high + room];
  }
  return uPlot.rangeNum(low, high, 0.1, true);
}

// Indexes of buckets between two gaps: no line connects them, so they need a dot.
function alone(values) {
  return values.flatMap((value, i) => (value !== null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
}

export class Chart {
  // `say` holds the messages, `clock` formats times, `selected(from, to)` is called after a drag.
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

  // Draw readings as dots if there is space between them.
  dots(plot) {
    const room = plot.bbox.width / devicePixelRatio / plot.data[0].length;
    return this.raw && room >= ROOM_FOR_DOTS ? null : alone(plot.data[1]);
  }

  // Report a dragged selection and clear it; the synchronized charts report the same selection.
  select(plot) {
    const { left, width } = plot.select;
    if (!width) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.selected(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  // Show a time range before its values are loaded.
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
      // The statistics below the chart already show the summary.
      return this.readout.replaceChildren(this.figure.querySelector("[data-stat]") ? "" : this.summary());
    }
    const band = min[index] < max[index] ? ` (${fill(this.say.band, { min: this.number(min[index]), max: this.number(max[index]) })})` : "";
    this.readout.replaceChildren(strong(this.number(avg[index])), `${band}  ${this.when(t[index])}`);
  }

  // The time of a reading, or the time range of a bucket.
  when(middle) {
    if (this.raw) return this.clock.format(middle * 1000);
    const from = middle - this.resolution / 2;
    return this.clock.formatRange(from * 1000, (from + this.resolution) * 1000);
  }

  // Move the cursor by one value (keyboard).
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
