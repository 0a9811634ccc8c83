// Chart data as a table, newest first.

function cell(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  if (name === "th") element.scope = "col";
  return element;
}

export function fillTable(table, charts, { clock, say, time }) {
  const heads = charts.map((chart) => `${chart.label}${chart.figure.dataset.unit ? ` (${chart.figure.dataset.unit})` : ""}`);
  const rows = new Map();
  charts.forEach((chart, number) => {
    chart.columns.t.forEach((t, i) => {
      if (!rows.has(t)) rows.set(t, Array(charts.length).fill(""));
      const { avg, min, max } = chart.columns;
      rows.get(t)[number] = say(chart, avg[i], min[i], max[i]);
    });
  });
  const head = table.createTHead();
  head.replaceChildren(document.createElement("tr"));
  head.rows[0].append(cell("th", time), ...heads.map((text) => cell("th", text)));
  const body = table.tBodies[0] ?? table.createTBody();
  body.replaceChildren(
    ...[...rows].sort(([a], [b]) => b - a).map(([t, cells]) => {
      const row = document.createElement("tr");
      row.append(cell("td", clock.format(t * 1000)), ...cells.map((text) => cell("td", text)));
      return row;
    }),
  );
}
