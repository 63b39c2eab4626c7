// Figures of a range against the range before.

import { element } from "./dom.js";
import { changeOf, figureOf, periodOf } from "./figures.js";
import { amount, unitName } from "./format.js";
import { daysBetween, plusDays } from "./range.js";
import { compared, shownRows } from "./spans.js";
import { figureColumns, textOf } from "./tables.js";

export function figure(tile, { data }, { range }) {
  const measure = tile.measures[0];
  const isStock = measure.how === "last";
  const { now, before, isWhole } = compared(tile, data, range);
  const onlyRunning = range.days === 0;
  // What the warehouse did today has happened, whatever comes.
  const countsToday = onlyRunning || isStock || tile.is_by_clock;
  const counted = countsToday ? shownRows(tile, data, range) : now;
  const value = figureOf(measure, counted, tile, {
    days: coveredDays(tile, counted, range.completeTo),
  });
  const earlier =
    isWhole && !onlyRunning && !tile.is_by_clock
      ? figureOf(measure, before, tile, { days: coveredDays(tile, before, range.from) })
      : null;
  const change = changeOf(value, earlier, measure.unit);
  const columns = [
    textOf("from", "From"),
    textOf("through", "Through"),
    figureColumns([measure])[0],
  ];
  const last = countsToday ? range.to : range.completeTo;
  const rows = [[range.from, plusDays(last, -1), value]];
  if (earlier !== null) rows.push([range.previousFrom, plusDays(range.from, -1), earlier]);
  const node = element(
    "div",
    {},
    element(
      "p",
      { class: "big" },
      amount(value, measure.unit),
      ["count", "cents", "USD", "percent", "seconds", "milliseconds", "tokens"].includes(
        measure.unit,
      )
        ? null
        : element("small", {}, ` ${unitName(measure.unit)}`),
    ),
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
  const before = isStock ? `on ${plusDays(range.from, -1)}` : `in the ${range.days} days before`;
  if (range.days === 0) return null;
  if (earlier === null)
    return element("p", { class: "change" }, "No full period before to compare with.");
  const was = `${amount(earlier, measure.unit)} ${before}`;
  if (change === null) return element("p", { class: "change" }, was);
  return element(
    "p",
    { class: "change" },
    element("span", { class: tone(measure, change) }, signed(change, measure)),
    ` from ${was}`,
  );
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

export function changes(tile, { data }, { range }) {
  const { now, before, isWhole } = compared(tile, data, range);
  const found = tile.measures.map((measure) => {
    const value = figureOf(measure, now, tile);
    const earlier = isWhole ? figureOf(measure, before, tile) : null;
    return { measure, value, earlier, change: changeOf(value, earlier, measure.unit) };
  });
  found.sort((a, b) => Math.abs(b.change ?? -1) - Math.abs(a.change ?? -1));
  const columns = [
    textOf("figure", "Figure"),
    { ...textOf("this_period", "This period"), type: "figure" },
    { ...textOf("period_before", "Before"), type: "figure" },
    { ...textOf("change_percent", "Change"), type: "figure", unit: "percent" },
  ];
  const rows = found.map(({ measure, value, earlier, change }) => [
    measure.label,
    value,
    earlier,
    change,
  ]);
  const node = element(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": tile.title },
    element(
      "table",
      {},
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...columns.map((column, at) =>
            element("th", { scope: "col", class: at ? "number" : null }, column.label),
          ),
        ),
      ),
      element(
        "tbody",
        {},
        ...found.map(({ measure, value, earlier, change }) =>
          element(
            "tr",
            {},
            element("th", { scope: "row", title: measure.about }, measure.label),
            element("td", { class: "number" }, amount(value, measure.unit)),
            element("td", { class: "number" }, amount(earlier, measure.unit)),
            element(
              "td",
              { class: `number ${change === null ? "" : tone(measure, change)}` },
              change === null ? "–" : signed(change, measure),
            ),
          ),
        ),
      ),
    ),
  );
  const about = isWhole
    ? `${range.days} complete days from ${range.from}, and as many before.`
    : "There is no full period before to compare with.";
  return {
    node: element("div", {}, element("p", { class: "note" }, about), node),
    columns,
    rows,
    isEmpty: now.length === 0,
  };
}
