// Fetch the series of several keys and prepare them for drawing.

const KEYS_PER_REQUEST = 20;
const SILENCES = 2.5; // a longer gap than this many intervals breaks the line

export class Refused extends Error {}

// Return the columns by key and the bucket size in seconds. Throws Refused, or an error of fetch.
export async function fetchSeries(address, keys, { from, to, points, zone, signal }) {
  const series = {};
  let resolution = 1;
  for (let first = 0; first < keys.length; first += KEYS_PER_REQUEST) {
    const query = new URLSearchParams({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), points, time_zone: zone });
    for (const key of keys.slice(first, first + KEYS_PER_REQUEST)) query.append("key", key);
    const response = await fetch(`${address}?${query}`, { signal, headers: { Accept: "application/json" } });
    if (!response.ok) throw new Refused(response.status);
    const answer = await response.json();
    for (const [key, columns] of Object.entries(answer.series)) series[key] = ofKey(answer.t, columns);
    resolution = answer.resolution;
  }
  return { series, resolution };
}

// The keys share their buckets: keep the buckets in which this key has a value.
function ofKey(t, columns) {
  const filled = columns.count.flatMap((count, i) => (count ? [i] : []));
  const pick = (column) => filled.map((i) => column[i]);
  return { t: pick(t), avg: pick(columns.avg), min: pick(columns.min), max: pick(columns.max), count: pick(columns.count) };
}

// Whether each bucket holds at most one reading.
export function single({ count }) {
  return count.every((n) => n === 1);
}

// Rows for uPlot: a bucket's values at its center, and a null in each gap that is too long.
export function withGaps({ t, avg, min, max }, { resolution, interval, raw }) {
  const longest = SILENCES * Math.max(resolution, interval);
  const middle = raw ? 0 : resolution / 2;
  const columns = [[], [], [], []];
  t.forEach((time, i) => {
    if (i && time - t[i - 1] > longest) {
      [time - longest / 2 + middle, null, null, null].forEach((value, c) => columns[c].push(value));
    }
    [time + middle, avg[i], min[i], max[i]].forEach((value, c) => columns[c].push(value));
  });
  return columns;
}

// Statistics of all buckets; undefined without buckets.
export function statistics({ avg, min, max, count }) {
  if (!count.length) return undefined;
  const total = count.reduce((sum, n) => sum + n, 0);
  return {
    min: min.reduce((a, b) => Math.min(a, b)),
    mean: avg.reduce((sum, value, i) => sum + value * count[i], 0) / total,
    max: max.reduce((a, b) => Math.max(a, b)),
    count: total,
  };
}
