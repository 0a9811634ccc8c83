// Format numbers, units and durations like templatetags/display.py.

import { language } from "../words.js";

const NARROW = "\u202f";
const SIGN = new Intl.NumberFormat(language).formatToParts(0.5).find(({ type }) => type === "decimal").value;

export function number(value) {
  const size = Math.abs(value);
  if (size && (size < 0.00005 || size >= 1e15)) return Number(value.toPrecision(3)).toString().replace(".", SIGN);
  const decimals = size < 1 ? 4 : size < 10 ? 3 : size < 1000 ? 2 : 1;
  return grouped(String(Number(value.toFixed(decimals))));
}

function fixed(value, decimals) {
  return grouped((Number(value.toFixed(decimals)) || 0).toFixed(decimals)); // no -0.0
}

export function grouped(text) {
  const [whole, part] = text.split(".");
  const digits = whole.replace(/\B(?=(\d{3})+$)/g, NARROW);
  return part ? digits + SIGN + part : digits;
}

// Return a formatter for the values of a key, with its decimals (if configured) and its unit.
export function speaker({ unit, decimals }) {
  const after = !unit ? "" : unit === "°" ? unit : NARROW + unit;
  return (value) => (decimals && Math.abs(value) < 1e15 ? fixed(value, Number(decimals)) : number(value)) + after;
}

// Labels of an axis, all with the decimals of its step.
export function labels(_, values, axis, space, step) {
  const decimals = (String(step).split(".")[1] ?? "").length;
  const plain = step >= 1e-6 && Math.max(...values.map(Math.abs)) < 1e15;
  return values.map((value) => (plain ? grouped(value.toFixed(decimals)) : number(value)));
}

export function duration(seconds) {
  const [unit, name] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([unit]) => seconds % unit === 0);
  return `${seconds / unit}${NARROW}${name}`;
}
