// How each kind of tile shows its rows. A view is {node, columns, rows, isEmpty}: the columns and rows
// are exactly what it shows, and its CSV.

import { chart, MOST_LINES } from "./chart.js";
import { element, svg } from "./dom.js";
import { changeOf, exact, figureOf, groups, latest, periodOf, periods } from "./figures.js";
import { amount, cell, unitName } from "./format.js";
import { daysBetween, monthStart, plusDays } from "./range.js";
import { firstDay } from "./rows.js";

const isNumber = (column) =>
  ["integer", "bigint", "numeric"].includes(column.type) || column.type === "figure";

function textOf(name, label = name) {
  return { name, label, type: "text", unit: null, about: "" };
}

function figureColumn(measure) {
  return { name: measure.name, label: measure.label, type: "figure", unit: measure.unit,
    about: measure.about };
}

// Two measures may be made of the same column: then the second takes its label's name.
function figureColumns(measures) {
  const taken = new Set();
  return measures.map((measure) => {
    const column = figureColumn(measure);
    if (measure.how === "ratio") column.name = measure.label.toLowerCase().replaceAll(" ", "_");
    if (taken.has(column.name)) column.name += `_${measure.how}`;
    taken.add(column.name);
    return column;
  });
}

export function table(caption, columns, rows, options = {}) {
  const most = options.bars ? Math.max(...rows.map((row) => row[options.bars] ?? 0), 0) : 0;
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...columns.map((column) =>
        element("th", { scope: "col", title: column.about || null,
          class: isNumber(column) ? "number" : null },
        column.label, unitMark(column))))),
      element("tbody", {}, ...rows.map((row) => element("tr", {},
        ...columns.map((column, at) => {
          const text = cellText(row[at], column);
          const isBar = at === options.bars && most > 0;
          return element(at === 0 ? "th" : "td", {
            scope: at === 0 ? "row" : null,
            class: [isNumber(column) ? "number" : "", isBar ? "bar" : "", options.class?.(row, at)]
              .filter(Boolean).join(" ") || null,
            "--share": isBar ? Math.max(0, (row[at] ?? 0) / most) : null,
          }, text);
        })))),
    ),
  );
}

// Values say the other units themselves.
const SILENT = new Set(["", "USD", "percent", "count", "tokens", "seconds", "milliseconds", "hours"]);

function unitMark(column) {
  const unit = isNumber(column) ? unitName(column.unit) : "";
  return SILENT.has(unit) ? null : element("small", {}, ` ${unit}`);
}

function cellText(value, column) {
  if (column.type === "figure") return amount(value, column.unit);
  if (column.type === "step") return value.replaceAll("_", " ");
  return cell(value, column);
}

function details(title, columns, rows) {
  const holder = element("details", { class: "data" }, element("summary", {}, "As a table"));
  const fill = () => {
    if (holder.querySelector("table")) return;
    holder.append(table(`${title}, as a table`, columns, rows));
  };
  holder.addEventListener("toggle", fill);
  addEventListener("beforeprint", () => {
    holder.open = true;
    fill();
  });
  return holder;
}

function inRange(tile, rows, from, to) {
  const first = tile.unit === "month" ? from.slice(0, 7) : from;
  const end = tile.unit === "month" ? monthAfter(to) : to;
  return rows.filter((row) => {
    const period = periodOf(tile, row);
    return period >= first && period < end;
  });
}

function monthAfter(day) {
  return day.endsWith("-01") ? day.slice(0, 7) : plusDays(monthStart(day), 32).slice(0, 7);
}

// Returns the rows of a tile's range, complete or not.
function shownRows(tile, data, range) {
  return tile.has_range ? inRange(tile, data, firstShown(tile, range), range.to) : data;
}

function firstShown(tile, range) {
  return firstDay({ ...tile, compares: false }, range);
}

// The rows of the complete days of the range, and of as many before; whether that is all there is.
function compared(tile, data, range) {
  const now = inRange(tile, data, range.from, range.completeTo);
  const before = inRange(tile, data, range.previousFrom, range.from);
  const first = before.map((row) => periodOf(tile, row)).sort()[0];
  const least = plusDays(range.previousFrom, Math.max(1, Math.round(range.days / 10)));
  return { now, before, isWhole: first !== undefined && first <= least };
}

function figure(tile, { data }, { range }) {
  const measure = tile.measures[0];
  const isStock = measure.how === "last";
  const { now, before, isWhole } = compared(tile, data, range);
  const onlyRunning = range.days === 0;
  // What the warehouse did today has happened, whatever comes.
  const countsToday = onlyRunning || isStock || tile.is_by_clock;
  const counted = countsToday ? shownRows(tile, data, range) : now;
  const value = figureOf(measure, counted, tile, { days: coveredDays(tile, counted, range.completeTo) });
  const earlier = isWhole && !onlyRunning && !tile.is_by_clock
    ? figureOf(measure, before, tile, { days: coveredDays(tile, before, range.from) }) : null;
  const change = changeOf(value, earlier, measure.unit);
  const columns = [textOf("from", "From"), textOf("through", "Through"), figureColumns([measure])[0]];
  const last = countsToday ? range.to : range.completeTo;
  const rows = [[range.from, plusDays(last, -1), value]];
  if (earlier !== null) rows.push([range.previousFrom, plusDays(range.from, -1), earlier]);
  const node = element(
    "div",
    {},
    element("p", { class: "big" }, amount(value, measure.unit),
      ["count", "cents", "USD", "percent", "seconds", "milliseconds", "tokens"].includes(measure.unit)
        ? null : element("small", {}, ` ${unitName(measure.unit)}`)),
    tile.is_by_clock ? null : comparison(measure, change, earlier, range, isStock),
    tile.is_by_clock ? null : begins(tile, counted, range),
    onlyRunning ? element("p", { class: "hatched" }, "The day is still running.") : null,
  );
  return { node, columns, rows, isEmpty: counted.length === 0 };
}

// Says so where the figures begin within the range: it is shorter than it seems.
function begins(tile, rows, range) {
  const first = rows.map((row) => periodOf(tile, row)).sort()[0];
  const least = plusDays(range.from, Math.max(1, Math.round(range.days / 10)));
  if (!first || first <= least || tile.unit === "month") return null;
  return element("p", { class: "change" }, `The figures begin on ${first}.`);
}

function coveredDays(tile, rows, end) {
  const first = rows.map((row) => periodOf(tile, row)).sort()[0];
  return first ? Math.max(1, daysBetween(first, end)) : 0;
}

function comparison(measure, change, earlier, range, isStock) {
  const before = isStock
    ? `on ${plusDays(range.from, -1)}`
    : `in the ${range.days} days before`;
  if (range.days === 0) return null;
  if (earlier === null) return element("p", { class: "change" }, "No full period before to compare with.");
  const was = `${amount(earlier, measure.unit)} ${before}`;
  if (change === null) return element("p", { class: "change" }, was);
  return element("p", { class: "change" },
    element("span", { class: tone(measure, change) }, signed(change, measure)), ` from ${was}`);
}

// Of a percentage the change is in points: a percentage of it would be read as one of the whole.
function signed(change, measure) {
  const unit = measure.unit === "percent" ? "points" : "%";
  if (change === 0) return `± 0 ${unit}`;
  return `${change > 0 ? "▲ +" : "▼ −"}${amount(Math.abs(change), "count")} ${unit}`;
}

function tone(measure, change) {
  if (measure.lower_is_better === null || change === 0) return "even";
  return change > 0 === !measure.lower_is_better ? "good" : "bad";
}

function changes(tile, { data }, { range }) {
  const { now, before, isWhole } = compared(tile, data, range);
  const found = tile.measures.map((measure) => {
    const value = figureOf(measure, now, tile);
    const earlier = isWhole ? figureOf(measure, before, tile) : null;
    return { measure, value, earlier, change: changeOf(value, earlier, measure.unit) };
  });
  found.sort((a, b) => Math.abs(b.change ?? -1) - Math.abs(a.change ?? -1));
  const columns = [textOf("figure", "Figure"),
    { ...textOf("this_period", "This period"), type: "figure" },
    { ...textOf("period_before", "Before"), type: "figure" },
    { ...textOf("change_percent", "Change"), type: "figure", unit: "percent" }];
  const rows = found.map(({ measure, value, earlier, change }) =>
    [measure.label, value, earlier, change]);
  const node = element("div", { class: "scroll", tabindex: "0", role: "group",
    "aria-label": tile.title },
  element("table", {},
    element("thead", {}, element("tr", {}, ...columns.map((column, at) =>
      element("th", { scope: "col", class: at ? "number" : null }, column.label)))),
    element("tbody", {}, ...found.map(({ measure, value, earlier, change }) => element("tr", {},
      element("th", { scope: "row", title: measure.about }, measure.label),
      element("td", { class: "number" }, amount(value, measure.unit)),
      element("td", { class: "number" }, amount(earlier, measure.unit)),
      element("td", { class: `number ${change === null ? "" : tone(measure, change)}` },
        change === null ? "–" : signed(change, measure)))))));
  const about = isWhole
    ? `${range.days} complete days from ${range.from}, and as many before.`
    : "There is no full period before to compare with.";
  return { node: element("div", {}, element("p", { class: "note" }, about), node), columns, rows,
    isEmpty: now.length === 0 };
}

function lines(tile, { data, meta }, { range, asOf }) {
  const rows = shownRows(tile, data, range);
  const first = data.map((row) => periodOf(tile, row)).sort()[0];
  const asked = periods(tile.unit, firstShown(tile, range), range.to, asOf);
  const keys = asked.filter((key) => key >= first);
  const split = tile.by.length ? groups(rows, tile.by) : [[[], rows]];
  const measures = tile.measures;
  const columns = figureColumns(measures);
  let series = split.flatMap(([key, part]) => {
    const byPeriod = new Map(groups(part.map((row) => ({ row, at: periodOf(tile, row) })), ["at"])
      .map(([[at], found]) => [at, found.map(({ row }) => row)]));
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
  const running = meta.running_period && tile.unit === "hour"
    ? `${new Date(meta.running_period).toISOString().slice(0, 13)}:00Z` : meta.running_period;
  const shown = [textOf(tile.unit), ...series.map((one) => ({ ...figureColumn(one), name: one.name })),
    textOf("complete", "Complete")];
  const cells = keys.map((key, at) =>
    [key, ...series.map((one) => one.values[at]), key === running ? "no" : "yes"]);
  const node = element("div", {}, chart(tile.title, tile.unit, keys, series, running),
    all > MOST_LINES ? element("p", { class: "note" }, `The largest ${MOST_LINES} of ${all}.`) : null,
    keys.length < asked.length ? element("p", { class: "note" }, `The figures begin with ${first}.`) : null,
    details(tile.title, shown, cells));
  return { node, columns: shown, rows: cells, isEmpty: rows.length === 0 || keys.length === 0 };
}

function ranked(tile, { data, meta }, { range, options, redraw }) {
  let rows = shownRows(tile, data, range);
  const [isJson] = tile.by.map((name) => tile.columns[name]?.type === "jsonb");
  if (isJson) {
    rows = rows.flatMap((row) => Object.entries(row[tile.by[0]] ?? {})
      .map(([key, count]) => ({ ...row, key, [tile.by[0]]: count })));
  }
  const dimensions = isJson ? ["key"] : tile.by;
  if (tile.without) rows = rows.filter((row) => row[tile.without[0]] !== tile.without[1]);
  const last = latest(tile, rows);
  const found = groups(rows, dimensions).map(([key, part]) =>
    ({ key, part, values: tile.measures.map((measure) => figureOf(measure, part, tile, { last })) }));
  const isDown = tile.order.startsWith("-");
  const name = tile.order.replace("-", "");
  const at = tile.measures.findIndex((measure) => measure.name === name);
  const rank = (one) => (at >= 0 ? one.values[at] ?? -Infinity : one.part[0][name]);
  found.sort((a, b) => (isDown ? rank(b) - rank(a) : rank(a) - rank(b)));
  const limit = options.all ? Infinity : tile.limit;
  const columns = [
    ...dimensions.map((one) => textOf(one, tile.columns[one]?.label ?? tile.measures[0].about)),
    ...figureColumns(tile.measures)];
  if (isJson) Object.assign(columns[0], { name: "model", label: "Model" });
  const shown = found.slice(0, limit).map(({ key, values }) => [...key, ...values]);
  return {
    node: element("div", {}, monthsNote(tile, rows, range, meta),
      table(tile.title, columns, shown, { bars: dimensions.length + Math.max(at, 0) }),
      more(found.length, tile.limit, options, redraw)),
    columns, rows: shown, isEmpty: rows.length === 0,
  };
}

function more(count, limit, options, redraw) {
  if (count <= limit) return null;
  return element("p", { class: "note" }, options.all ? `All ${count}. ` : `${limit} of ${count}. `,
    element("button", { class: "quiet", type: "button", onclick: () => redraw({ all: !options.all }) },
      options.all ? "Show fewer" : "Show all"));
}

// Months are read whole, whatever day the range begins on.
function monthsNote(tile, rows, range, meta) {
  if (tile.unit !== "month" || !tile.has_range) return null;
  const [first] = rows.map((row) => periodOf(tile, row)).sort();
  const months = periods("month", firstShown(tile, range), range.to, `${range.today}T23:59:59Z`)
    .filter((month) => month >= first);
  if (!months.length) return null;
  const isRunning = months.at(-1) === meta.running_period;
  return element("p", { class: "note" },
    months.length > 1 ? `Whole months, ${months[0]} to ${months.at(-1)}. ` : `The month ${months[0]}. `,
    isRunning ? element("span", { class: "hatched" }, `${months.at(-1)} is still running.`) : null);
}

function plain(tile, { data, meta }) {
  const kept = tile.only
    ? data.filter((row) => tile.only[1].includes(row[tile.only[0]])) : data;
  if (tile.only && tile.order.startsWith("-")) {
    const name = tile.order.slice(1);
    kept.sort((a, b) => (b[name] ?? -1) - (a[name] ?? -1));
  }
  if (tile.by.includes("last_check_status")) {
    const rank = (row) => ["failed", "warned", "passed"].indexOf(row.last_check_status) + 1 || 4;
    kept.sort((a, b) => rank(a) - rank(b));
  }
  const names = tile.by;
  const columns = names.map((name) => ({ name, ...tile.columns[name] }));
  const rows = kept.slice(0, tile.limit).map((row) => {
    const differing = onlyDiffering(row);
    return names.map((name) => differing[name] ?? row[name]);
  });
  const isMore = kept.length > tile.limit || Boolean(meta.next_cursor);
  return {
    node: element("div", {},
      table(tile.title, columns, rows, { class: (row, at) => mood(columns[at], row[at]) }),
      isMore ? element("p", { class: "note" }, `The first ${rows.length}; the API has all of them.`) : null),
    columns, rows, isEmpty: rows.length === 0,
  };
}

// Of old and new values, those that differ.
function onlyDiffering(row) {
  if (!row.old_values || !row.new_values) return {};
  const names = Object.keys({ ...row.old_values, ...row.new_values })
    .filter((name) => JSON.stringify(row.old_values[name]) !== JSON.stringify(row.new_values[name]));
  const part = (values) => Object.fromEntries(names.map((name) => [name, values[name] ?? null]));
  return { old_values: part(row.old_values), new_values: part(row.new_values) };
}

function mood(column, value) {
  if (column.name === "last_check_status") return value === "failed" ? "bad" : value === "passed" ? "good" : value === "warned" ? "even" : "";
  if (column.name === "status" || column.name === "severity") {
    return ["limit_reached", "critical", "high"].includes(value) ? "bad" : "";
  }
  return "";
}

function funnel(tile, { data, meta }, { range, options, redraw }) {
  const measure = tile.measures[0];
  const isMonthly = tile.unit === "month" && tile.path !== "/v1/funnel";
  const rows = tile.path === "/v1/funnel" ? data : shownRows(tile, data, range);
  const months = isMonthly ? [...new Set(rows.map((row) => periodOf(tile, row)))].sort() : [];
  const isMature = (month) => rows.every((row) => periodOf(tile, row) !== month || row.is_mature !== false);
  const settled = months.filter((one) => one !== meta.running_period && isMature(one));
  const month = months.includes(options.month)
    ? options.month : settled.at(-1) ?? months.filter((one) => one !== meta.running_period).at(-1) ?? months.at(-1);
  const counted = isMonthly ? rows.filter((row) => periodOf(tile, row) === month) : rows;
  const steps = tile.steps.length ? reached(tile, counted)
    : groups(counted, tile.by).map(([[step], part]) => ({ step, part, order: part[0][tile.order] ?? 0,
      value: figureOf(measure, part, tile) })).sort((a, b) => a.order - b.order);
  const first = steps[0]?.value ?? 0;
  const share = (value, whole) => (whole ? Math.round((1000 * value) / whole) / 10 : null);
  const columns = [{ ...textOf(tile.by[0], "Step"), type: "step" }, figureColumn({ ...measure, label: measure.label }),
    { ...textOf("percent_of_first", "Of the first"), type: "figure", unit: "percent" },
    { ...textOf("percent_of_step_before", "Of the step before"), type: "figure", unit: "percent" }];
  const shown = steps.map(({ step, value }, at) => [step, value, share(value, first),
    at ? share(value, steps[at - 1].value) : null]);
  const choice = isMonthly && months.length
    ? element("label", { class: "pick" }, "Month ",
      element("select", { onchange: (event) => redraw({ month: event.target.value }) },
        ...months.toReversed().map((one) => element("option", { selected: one === month }, one))))
    : null;
  const isRunning = month !== undefined && month === meta.running_period;
  const state = isRunning ? "This month is still running."
    : isMonthly && !isMature(month) ? "Not mature: its leads have not had 90 days yet." : null;
  const isHatched = Boolean(state);
  return {
    node: element("div", { class: "steps" }, choice,
      state ? element("p", { class: "hatched" }, state) : null,
      table(tile.title, columns, shown, { bars: 1, class: (_, at) => (isHatched && at === 1 ? "runs" : "") })),
    columns: isMonthly ? [textOf("month"), ...columns] : columns,
    rows: isMonthly ? shown.map((row) => [month, ...row]) : shown,
    isEmpty: counted.length === 0,
  };
}

// Of rows with the furthest step each has come to, how many have come at least so far.
function reached(tile, rows) {
  const counts = tile.steps.map((step) => rows.filter((row) => row[tile.by[0]] === step).length);
  return tile.steps.map((step, at) => ({
    step, value: counts.slice(at).reduce((total, count) => total + count, 0),
  }));
}

const MOST_COHORTS = 24;

function triangle(tile, { data }) {
  const cohorts = groups(data, ["cohort_month"]).sort(([[a]], [[b]]) => (a < b ? 1 : -1)).slice(0, MOST_COHORTS);
  const shown = cohorts.flatMap(([, rows]) => rows).toSorted((a, b) =>
    (a.cohort_month === b.cohort_month ? a.month_number - b.month_number : a.cohort_month < b.cohort_month ? 1 : -1));
  const most = Math.max(...shown.map((row) => row.month_number), 0);
  const months = Array.from({ length: most + 1 }, (_, number) => number);
  const head = element("tr", {}, element("th", { scope: "col" }, "Came in"),
    element("th", { scope: "col", class: "number" }, "Size"),
    ...months.map((number) => element("th", { scope: "col", class: "number" }, `Month ${number}`)));
  const lines = cohorts.map(([[month], rows]) => {
    const byNumber = new Map(rows.map((row) => [row.month_number, row]));
    return element("tr", {}, element("th", { scope: "row" }, month),
      element("td", { class: "number" }, amount(rows[0].cohort_size, "count")),
      ...months.map((number) => {
        const row = byNumber.get(number);
        if (!row) return element("td", {});
        const text = row.retention_rate === null ? "–" : amount(row.retention_rate, "percent");
        return element("td", { class: row.is_complete ? "number heat" : "number heat runs",
          "--share": (row.retention_rate ?? 0) / 100,
          title: `${row.active} of ${row.cohort_size}${row.is_complete ? "" : ", the month is still running"}` },
        text, row.is_complete ? null : element("small", {}, " so far"));
      }));
  });
  const names = ["cohort_month", "month_number", "cohort_size", "active", "retention_rate", "is_complete"];
  return {
    node: element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": tile.title },
      element("table", { class: "triangle" }, element("thead", {}, head), element("tbody", {}, ...lines))),
    columns: names.map((name) => ({ name, ...tile.columns[name] })),
    rows: shown.map((row) => names.map((name) => row[name])),
    isEmpty: data.length === 0,
  };
}

const PARTS = [
  ["new_mrr_cents", 1], ["reactivation_mrr_cents", 1], ["expansion_mrr_cents", 1],
  ["contraction_mrr_cents", -1], ["churned_mrr_cents", -1],
];

function bridge(tile, { data, meta }, { range }) {
  const byMonth = groups(data.map((row) => ({ ...row, month: row.date.slice(0, 7) })), ["month"])
    .sort(([[a]], [[b]]) => (a < b ? -1 : 1));
  const stock = (rows) => figureOf({ name: "mrr_cents", how: "last" }, rows, tile);
  let opening = null;
  const found = [];
  for (const [[month], rows] of byMonth) {
    const sums = PARTS.map(([name]) => figureOf({ name, how: "sum" }, rows, tile));
    const closing = stock(rows);
    // The first row is of the day before the range: it only says from where its first month went.
    if (month >= range.from.slice(0, 7)) {
      const from = opening ?? closing - sums.reduce((total, value, at) => total + PARTS[at][1] * value, 0);
      found.push({ month, opening: exact(from), sums, closing,
        isComplete: month !== (meta.running_period ?? "").slice(0, 7) });
    }
    opening = closing;
  }
  const money = (name, label) => ({ name, label, type: "figure", unit: "cents",
    about: tile.columns[name]?.about ?? "" });
  const columns = [textOf("month", "Month"), money("opening_mrr_cents", "At its start"),
    ...PARTS.map(([name, sign]) => money(name, `${sign > 0 ? "+" : "−"} ${tile.columns[name].label.replace(" MRR", "")}`)),
    money("mrr_cents", "At its end"), textOf("complete", "Complete")];
  const rows = found.map(({ month, opening: from, sums, closing, isComplete }) =>
    [month, from, ...sums, closing, isComplete ? "yes" : "no"]);
  return {
    node: element("div", {}, bars(found, columns), table(tile.title, columns, rows, {
      class: (row) => (row.at(-1) === "no" ? "runs" : "") })),
    columns, rows, isEmpty: found.length === 0,
  };
}

// Gains above the line, losses below it; the table beneath says the same in figures.
function bars(found, columns) {
  const WIDTH = 64, HEIGHT = 200, MARGIN = 24;
  const gains = found.map(({ sums }) => sums[0] + sums[1] + sums[2]);
  const losses = found.map(({ sums }) => sums[3] + sums[4]);
  const most = Math.max(...gains, 1), least = Math.max(...losses, 0);
  const scale = (HEIGHT - 2 * MARGIN) / (most + least);
  const zero = MARGIN + most * scale;
  const picture = svg("svg", { class: "bridge", viewBox: `0 0 ${WIDTH * found.length} ${HEIGHT}`,
    "aria-hidden": "true" });
  found.forEach(({ month, sums, isComplete }, number) => {
    const left = number * WIDTH + 14;
    let up = zero, down = zero;
    sums.forEach((value, at) => {
      const height = value * scale;
      if (!height) return;
      const y = PARTS[at][1] > 0 ? (up -= height) : down;
      if (PARTS[at][1] < 0) down += height;
      picture.append(svg("rect", { x: left, y, width: WIDTH - 28, height, class: `part-${at + 1}${isComplete ? "" : " open"}` }));
    });
    const net = sums.reduce((total, value, at) => total + PARTS[at][1] * value, 0);
    const label = svg("text", { x: left + (WIDTH - 28) / 2, y: up - 6, "text-anchor": "middle" });
    label.textContent = `${net < 0 ? "−" : "+"}$${Math.abs(Math.round(net / 100)).toLocaleString("en-US")}`;
    const name = svg("text", { x: left + (WIDTH - 28) / 2, y: HEIGHT - 4, "text-anchor": "middle" });
    name.textContent = month + (isComplete ? "" : "*");
    picture.append(label, name);
  });
  picture.append(svg("line", { x1: 0, x2: WIDTH * found.length, y1: zero, y2: zero }));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "MRR bridge, drawn" },
    element("ul", { class: "legend" }, ...PARTS.map((_, at) =>
      element("li", { class: `key part-${at + 1}` }, columns[at + 2].label)),
    found.some((one) => !one.isComplete) ? element("li", { class: "unit hatched" }, "* still running") : null),
    picture);
}

function alerts(tile, { data, meta }, { options, redraw, act, isAnalyst }) {
  const names = ["severity", "title", "message", "created_at", "acknowledged_by", "resolved_by", "resolved_at"];
  const columns = names.map((name) => ({ name, ...tile.columns[name] }));
  const shown = data.slice(0, tile.limit);
  const rows = shown.map((row) => names.map((name) => row[name]));
  const button = (row, verb, label) => element("button", { type: "button", class: "quiet",
    onclick: (event) => act(row, verb, event.currentTarget) }, label,
  element("span", { class: "unseen" }, `: ${row.title}`));
  const list = element("ul", { class: "alerts" }, ...shown.map((row) => element("li", { class: row.severity },
    element("p", {}, element("strong", { class: ["critical", "high"].includes(row.severity) ? "bad" : null },
      row.severity), ` ${row.title}`),
    element("p", { class: "note" }, `${row.message} `, element("time", { datetime: row.created_at },
      cell(row.created_at, { type: "timestamptz" }))),
    element("p", { class: "actions" },
      row.acknowledged_by ? `Acknowledged by ${row.acknowledged_by}. ` : null,
      row.resolved ? `Resolved${row.resolved_by ? ` by ${row.resolved_by}` : " by itself"}, ${cell(row.resolved_at, { type: "timestamptz" })}.` : null,
      isAnalyst && !row.resolved && !row.acknowledged_by ? button(row, "acknowledge", "Acknowledge") : null,
      isAnalyst && !row.resolved ? button(row, "resolve", "Resolve") : null))));
  const toggle = element("label", { class: "pick" },
    element("input", { type: "checkbox", checked: options.includeResolved,
      onchange: (event) => redraw({ includeResolved: event.target.checked }) }), " With resolved ones");
  const isMore = data.length > shown.length || meta.next_cursor;
  return {
    node: element("div", {}, toggle, element("p", { class: "outcome", role: "status" }, options.outcome ?? ""),
      shown.length ? list : element("p", { class: "nothing" }, "Nothing is open."),
      isMore ? element("p", { class: "note" }, `The newest ${shown.length} of ${data.length}.`) : null),
    columns, rows, isEmpty: false,
  };
}

function summary(tile, { data }) {
  const found = Object.assign({}, ...Object.values(data));
  const columns = tile.by.map((name) => ({ name, ...tile.columns[name] }));
  return {
    node: element("dl", { class: "summary" }, ...columns.map((column) => element("div", { title: column.about },
      element("dt", {}, column.label),
      element("dd", {}, amount(found[column.name], column.unit))))),
    columns, rows: [tile.by.map((name) => found[name])], isEmpty: false,
  };
}

export const VIEWS = {
  figure, chart: lines, table: ranked, rows: plain, changes, funnel, triangle, bridge, alerts, summary,
};
