// Figures by period: lines over time, and the bridge from month to month.

import { MOST_LINES, chart } from "./chart.js";
import { element, svg } from "./dom.js";
import { exact, figureOf, groups, periodOf, periods } from "./figures.js";
import { firstShown, shownRows } from "./spans.js";
import { details, figureColumn, figureColumns, table, textOf } from "./tables.js";

export function lines(tile, { data, meta }, { range, asOf }) {
  const rows = shownRows(tile, data, range);
  const first = data.map((row) => periodOf(tile, row)).sort()[0];
  const asked = periods(tile.unit, firstShown(tile, range), range.to, asOf);
  const keys = asked.filter((key) => key >= first);
  const split = tile.by.length ? groups(rows, tile.by) : [[[], rows]];
  const measures = tile.measures;
  const columns = figureColumns(measures);
  let series = split.flatMap(([key, part]) => {
    const byPeriod = new Map(
      groups(
        part.map((row) => ({ row, at: periodOf(tile, row) })),
        ["at"],
      ).map(([[at], found]) => [at, found.map(({ row }) => row)]),
    );
    return measures.map((measure, at) => ({
      name: [...key, columns[at].name].join(" "),
      label: key.length ? key.join(" ") : measure.label,
      unit: measure.unit,
      about: measure.about,
      values: keys.map((one) => figureOf(measure, byPeriod.get(one) ?? [], tile)),
    }));
  });
  const all = series.length;
  if (all > MOST_LINES) {
    const size = (one) => one.values.reduce((total, value) => total + (value ?? 0), 0);
    series = series.sort((a, b) => size(b) - size(a)).slice(0, MOST_LINES);
  }
  const running =
    meta.running_period && tile.unit === "hour"
      ? `${new Date(meta.running_period).toISOString().slice(0, 13)}:00Z`
      : meta.running_period;
  const shown = [
    textOf(tile.unit),
    ...series.map((one) => ({ ...figureColumn(one), name: one.name })),
    textOf("complete", "Complete"),
  ];
  const cells = keys.map((key, at) => [
    key,
    ...series.map((one) => one.values[at]),
    key === running ? "no" : "yes",
  ]);
  const node = element(
    "div",
    {},
    chart(tile.title, tile.unit, keys, series, running),
    all > MOST_LINES
      ? element("p", { class: "note" }, `The largest ${MOST_LINES} of ${all}.`)
      : null,
    keys.length < asked.length
      ? element("p", { class: "note" }, `The figures begin with ${first}.`)
      : null,
    details(tile.title, shown, cells),
  );
  return { node, columns: shown, rows: cells, isEmpty: rows.length === 0 || keys.length === 0 };
}

const PARTS = [
  ["new_mrr_cents", 1],
  ["reactivation_mrr_cents", 1],
  ["expansion_mrr_cents", 1],
  ["contraction_mrr_cents", -1],
  ["churned_mrr_cents", -1],
];

export function bridge(tile, { data, meta }, { range }) {
  const byMonth = groups(
    data.map((row) => ({ ...row, month: row.date.slice(0, 7) })),
    ["month"],
  ).sort(([[a]], [[b]]) => (a < b ? -1 : 1));
  const stock = (rows) => figureOf({ name: "mrr_cents", how: "last" }, rows, tile);
  let opening = null;
  const found = [];
  for (const [[month], rows] of byMonth) {
    const sums = PARTS.map(([name]) => figureOf({ name, how: "sum" }, rows, tile));
    const closing = stock(rows);
    // The first row is of the day before the range: it only says from where its first month went.
    if (month >= range.from.slice(0, 7)) {
      const from =
        opening ?? closing - sums.reduce((total, value, at) => total + PARTS[at][1] * value, 0);
      found.push({
        month,
        opening: exact(from),
        sums,
        closing,
        isComplete: month !== (meta.running_period ?? "").slice(0, 7),
      });
    }
    opening = closing;
  }
  const money = (name, label) => ({
    name,
    label,
    type: "figure",
    unit: "cents",
    about: tile.columns[name]?.about ?? "",
  });
  const columns = [
    textOf("month", "Month"),
    money("opening_mrr_cents", "At its start"),
    ...PARTS.map(([name, sign]) =>
      money(name, `${sign > 0 ? "+" : "−"} ${tile.columns[name].label.replace(" MRR", "")}`),
    ),
    money("mrr_cents", "At its end"),
    textOf("complete", "Complete"),
  ];
  const rows = found.map(({ month, opening: from, sums, closing, isComplete }) => [
    month,
    from,
    ...sums,
    closing,
    isComplete ? "yes" : "no",
  ]);
  return {
    node: element(
      "div",
      {},
      bars(found, columns),
      table(tile.title, columns, rows, {
        class: (row) => (row.at(-1) === "no" ? "runs" : ""),
      }),
    ),
    columns,
    rows,
    isEmpty: found.length === 0,
  };
}

// Gains above the line, losses below it; the table beneath says the same in figures.
function bars(found, columns) {
  const WIDTH = 64,
    HEIGHT = 200,
    MARGIN = 24;
  const gains = found.map(({ sums }) => sums[0] + sums[1] + sums[2]);
  const losses = found.map(({ sums }) => sums[3] + sums[4]);
  const most = Math.max(...gains, 1),
    least = Math.max(...losses, 0);
  const scale = (HEIGHT - 2 * MARGIN) / (most + least);
  const zero = MARGIN + most * scale;
  const picture = svg("svg", {
    class: "bridge",
    viewBox: `0 0 ${WIDTH * found.length} ${HEIGHT}`,
    "aria-hidden": "true",
  });
  found.forEach(({ month, sums, isComplete }, number) => {
    const left = number * WIDTH + 14;
    let up = zero,
      down = zero;
    sums.forEach((value, at) => {
      const height = value * scale;
      if (!height) return;
      const y = PARTS[at][1] > 0 ? (up -= height) : down;
      if (PARTS[at][1] < 0) down += height;
      picture.append(
        svg("rect", {
          x: left,
          y,
          width: WIDTH - 28,
          height,
          class: `part-${at + 1}${isComplete ? "" : " open"}`,
        }),
      );
    });
    const net = sums.reduce((total, value, at) => total + PARTS[at][1] * value, 0);
    const label = svg("text", { x: left + (WIDTH - 28) / 2, y: up - 6, "text-anchor": "middle" });
    label.textContent = `${net < 0 ? "−" : "+"}$${Math.abs(Math.round(net / 100)).toLocaleString("en-US")}`;
    const name = svg("text", {
      x: left + (WIDTH - 28) / 2,
      y: HEIGHT - 4,
      "text-anchor": "middle",
    });
    name.textContent = month + (isComplete ? "" : "*");
    picture.append(label, name);
  });
  picture.append(svg("line", { x1: 0, x2: WIDTH * found.length, y1: zero, y2: zero }));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": "MRR bridge, drawn" },
    element(
      "ul",
      { class: "legend" },
      ...PARTS.map((_, at) =>
        element("li", { class: `key part-${at + 1}` }, columns[at + 2].label),
      ),
      found.some((one) => !one.isComplete)
        ? element("li", { class: "unit hatched" }, "* still running")
        : null,
    ),
    picture,
  );
}
