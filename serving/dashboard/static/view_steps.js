// What became of those who began: funnels and cohorts.

import { element } from "./dom.js";
import { figureOf, groups, periodOf } from "./figures.js";
import { amount } from "./format.js";
import { shownRows } from "./spans.js";
import { figureColumn, table, textOf } from "./tables.js";

export function funnel(tile, { data, meta }, { range, options, redraw }) {
  const measure = tile.measures[0];
  const isMonthly = tile.unit === "month" && tile.path !== "/v1/funnel";
  const rows = tile.path === "/v1/funnel" ? data : shownRows(tile, data, range);
  const months = isMonthly ? [...new Set(rows.map((row) => periodOf(tile, row)))].sort() : [];
  const isMature = (month) =>
    rows.every((row) => periodOf(tile, row) !== month || row.is_mature !== false);
  const settled = months.filter((one) => one !== meta.running_period && isMature(one));
  const month = months.includes(options.month)
    ? options.month
    : (settled.at(-1) ??
      months.filter((one) => one !== meta.running_period).at(-1) ??
      months.at(-1));
  const counted = isMonthly ? rows.filter((row) => periodOf(tile, row) === month) : rows;
  const steps = tile.steps.length
    ? reached(tile, counted)
    : groups(counted, tile.by)
        .map(([[step], part]) => ({
          step,
          part,
          order: part[0][tile.order] ?? 0,
          value: figureOf(measure, part, tile),
        }))
        .sort((a, b) => a.order - b.order);
  const first = steps[0]?.value ?? 0;
  const share = (value, whole) => (whole ? Math.round((1000 * value) / whole) / 10 : null);
  const columns = [
    { ...textOf(tile.by[0], "Step"), type: "step" },
    figureColumn({ ...measure, label: measure.label }),
    { ...textOf("percent_of_first", "Of the first"), type: "figure", unit: "percent" },
    { ...textOf("percent_of_step_before", "Of the step before"), type: "figure", unit: "percent" },
  ];
  const shown = steps.map(({ step, value }, at) => [
    step,
    value,
    share(value, first),
    at ? share(value, steps[at - 1].value) : null,
  ]);
  const choice =
    isMonthly && months.length
      ? element(
          "label",
          { class: "pick" },
          "Month ",
          element(
            "select",
            { onchange: (event) => redraw({ month: event.target.value }) },
            ...months
              .toReversed()
              .map((one) => element("option", { selected: one === month }, one)),
          ),
        )
      : null;
  const isRunning = month !== undefined && month === meta.running_period;
  const state = isRunning
    ? "This month is still running."
    : isMonthly && !isMature(month)
      ? "Not mature: its leads have not had 90 days yet."
      : null;
  const isHatched = Boolean(state);
  return {
    node: element(
      "div",
      { class: "steps" },
      choice,
      state ? element("p", { class: "hatched" }, state) : null,
      table(tile.title, columns, shown, {
        bars: 1,
        class: (_, at) => (isHatched && at === 1 ? "runs" : ""),
      }),
    ),
    columns: isMonthly ? [textOf("month"), ...columns] : columns,
    rows: isMonthly ? shown.map((row) => [month, ...row]) : shown,
    isEmpty: counted.length === 0,
  };
}

// Of rows with the furthest step each has come to, how many have come at least so far.
function reached(tile, rows) {
  const counts = tile.steps.map((step) => rows.filter((row) => row[tile.by[0]] === step).length);
  return tile.steps.map((step, at) => ({
    step,
    value: counts.slice(at).reduce((total, count) => total + count, 0),
  }));
}

const MOST_COHORTS = 24;

export function triangle(tile, { data }) {
  const cohorts = groups(data, ["cohort_month"])
    .sort(([[a]], [[b]]) => (a < b ? 1 : -1))
    .slice(0, MOST_COHORTS);
  const shown = cohorts
    .flatMap(([, rows]) => rows)
    .toSorted((a, b) =>
      a.cohort_month === b.cohort_month
        ? a.month_number - b.month_number
        : a.cohort_month < b.cohort_month
          ? 1
          : -1,
    );
  const most = Math.max(...shown.map((row) => row.month_number), 0);
  const months = Array.from({ length: most + 1 }, (_, number) => number);
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "Came in"),
    element("th", { scope: "col", class: "number" }, "Size"),
    ...months.map((number) => element("th", { scope: "col", class: "number" }, `Month ${number}`)),
  );
  const lines = cohorts.map(([[month], rows]) => {
    const byNumber = new Map(rows.map((row) => [row.month_number, row]));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, month),
      element("td", { class: "number" }, amount(rows[0].cohort_size, "count")),
      ...months.map((number) => {
        const row = byNumber.get(number);
        if (!row) return element("td", {});
        const text = row.retention_rate === null ? "–" : amount(row.retention_rate, "percent");
        return element(
          "td",
          {
            class: row.is_complete ? "number heat" : "number heat runs",
            "--share": (row.retention_rate ?? 0) / 100,
            title: `${row.active} of ${row.cohort_size}${row.is_complete ? "" : ", the month is still running"}`,
          },
          text,
          row.is_complete ? null : element("small", {}, " so far"),
        );
      }),
    );
  });
  const names = [
    "cohort_month",
    "month_number",
    "cohort_size",
    "active",
    "retention_rate",
    "is_complete",
  ];
  return {
    node: element(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": tile.title },
      element(
        "table",
        { class: "triangle" },
        element("thead", {}, head),
        element("tbody", {}, ...lines),
      ),
    ),
    columns: names.map((name) => ({ name, ...tile.columns[name] })),
    rows: shown.map((row) => names.map((name) => row[name])),
    isEmpty: data.length === 0,
  };
}
