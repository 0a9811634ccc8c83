// The visible time range: {seconds, end}. If end is null, the range ends now and moves on.

const SHORTEST = 10;
const LONGEST = 20 * 366 * 86400;

export function span(view, now) {
  const to = view.end ?? now;
  return { from: to - view.seconds, to };
}

// The range between two times, limited to SHORTEST and LONGEST. A range in the future ends now.
export function between(from, to, now) {
  const seconds = Math.min(LONGEST, Math.max(SHORTEST, Math.round(to - from)));
  const end = Math.round((from + to + seconds) / 2);
  return { seconds, end: Math.min(end, Math.ceil(now)) };
}

export function moved(view, share, now) {
  const end = (view.end ?? now) + share * view.seconds;
  return { seconds: view.seconds, end: end >= now ? null : Math.round(end) };
}

// Zoom around a time: a factor below 1 shortens the range. A range that ends now keeps ending now.
export function zoomed(view, factor, at, now) {
  const { from, to } = span(view, now);
  if (view.end === null && at === undefined) {
    return { seconds: Math.min(LONGEST, Math.max(SHORTEST, Math.round(view.seconds * factor))), end: null };
  }
  const middle = at ?? (from + to) / 2;
  const next = between(middle - (middle - from) * factor, middle + (to - middle) * factor, now);
  return factor > 1 && next.end >= Math.floor(now) ? { ...next, end: null } : next;
}

export function same(one, other) {
  return one.seconds === other.seconds && one.end === other.end;
}

// The URL has `range` (a preset's name, or seconds such as 5400s), or `from` and `to`.
export function fromUrl(search, presets, initial) {
  const asked = new URLSearchParams(search);
  const [from, to] = ["from", "to"].map((name) => Date.parse(asked.get(name)) / 1000);
  if (from < to) return { seconds: to - from, end: to };
  const name = asked.get("range") ?? "";
  const seconds = presets.get(name) ?? Number(/^(\d{1,9})s$/.exec(name)?.[1]);
  return seconds >= SHORTEST ? { seconds, end: null } : initial;
}

export function toUrl(view, presets, search) {
  const asked = new URLSearchParams(search);
  for (const name of ["range", "from", "to"]) asked.delete(name);
  if (view.end === null) asked.set("range", presetOf(view, presets) ?? `${view.seconds}s`);
  else for (const [name, time] of Object.entries(span(view))) asked.set(name, iso(time));
  return `?${asked}`.replaceAll("%3A", ":");
}

export function presetOf(view, presets) {
  if (view.end !== null) return undefined;
  return [...presets].find(([, seconds]) => seconds === view.seconds)?.[0];
}

export function iso(time) {
  return new Date(time * 1000).toISOString().replace(".000Z", "Z");
}
