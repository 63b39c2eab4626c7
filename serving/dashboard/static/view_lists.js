// Rows: ranked by a figure, as the mart has them, alerts, and a summary.

import { element } from "./dom.js";
import { figureOf, groups, latest, periodOf, periods } from "./figures.js";
import { amount, cell } from "./format.js";
import { firstShown, shownRows } from "./spans.js";
import { figureColumns, table, textOf } from "./tables.js";

export function ranked(tile, { data, meta }, { range, options, redraw }) {
  let rows = shownRows(tile, data, range);
  const [isJson] = tile.by.map((name) => tile.columns[name]?.type === "jsonb");
  if (isJson) {
    rows = rows.flatMap((row) =>
      Object.entries(row[tile.by[0]] ?? {}).map(([key, count]) => ({
        ...row,
        key,
        [tile.by[0]]: count,
      })),
    );
  }
  const dimensions = isJson ? ["key"] : tile.by;
  if (tile.without) rows = rows.filter((row) => row[tile.without[0]] !== tile.without[1]);
  const last = latest(tile, rows);
  const found = groups(rows, dimensions).map(([key, part]) => ({
    key,
    part,
    values: tile.measures.map((measure) => figureOf(measure, part, tile, { last })),
  }));
  const isDown = tile.order.startsWith("-");
  const name = tile.order.replace("-", "");
  const at = tile.measures.findIndex((measure) => measure.name === name);
  const rank = (one) => (at >= 0 ? (one.values[at] ?? -Infinity) : one.part[0][name]);
  found.sort((a, b) => (isDown ? rank(b) - rank(a) : rank(a) - rank(b)));
  const limit = options.all ? Infinity : tile.limit;
  const columns = [
    ...dimensions.map((one) => textOf(one, tile.columns[one]?.label ?? tile.measures[0].about)),
    ...figureColumns(tile.measures),
  ];
  if (isJson) Object.assign(columns[0], { name: "model", label: "Model" });
  const shown = found.slice(0, limit).map(({ key, values }) => [...key, ...values]);
  return {
    node: element(
      "div",
      {},
      monthsNote(tile, rows, range, meta),
      table(tile.title, columns, shown, { bars: dimensions.length + Math.max(at, 0) }),
      more(found.length, tile.limit, options, redraw),
    ),
    columns,
    rows: shown,
    isEmpty: rows.length === 0,
  };
}

function more(count, limit, options, redraw) {
  if (count <= limit) return null;
  return element(
    "p",
    { class: "note" },
    options.all ? `All ${count}. ` : `${limit} of ${count}. `,
    element(
      "button",
      { class: "quiet", type: "button", onclick: () => redraw({ all: !options.all }) },
      options.all ? "Show fewer" : "Show all",
    ),
  );
}

// Months are read whole, whatever day the range begins on.
function monthsNote(tile, rows, range, meta) {
  if (tile.unit !== "month" || !tile.has_range) return null;
  const [first] = rows.map((row) => periodOf(tile, row)).sort();
  const months = periods(
    "month",
    firstShown(tile, range),
    range.to,
    `${range.today}T23:59:59Z`,
  ).filter((month) => month >= first);
  if (!months.length) return null;
  const isRunning = months.at(-1) === meta.running_period;
  return element(
    "p",
    { class: "note" },
    months.length > 1
      ? `Whole months, ${months[0]} to ${months.at(-1)}. `
      : `The month ${months[0]}. `,
    isRunning ? element("span", { class: "hatched" }, `${months.at(-1)} is still running.`) : null,
  );
}

export function plain(tile, { data, meta }) {
  const kept = tile.only ? data.filter((row) => tile.only[1].includes(row[tile.only[0]])) : data;
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
    node: element(
      "div",
      {},
      table(tile.title, columns, rows, { class: (row, at) => mood(columns[at], row[at]) }),
      isMore
        ? element("p", { class: "note" }, `The first ${rows.length}; the API has all of them.`)
        : null,
    ),
    columns,
    rows,
    isEmpty: rows.length === 0,
  };
}

// Of old and new values, those that differ.
function onlyDiffering(row) {
  if (!row.old_values || !row.new_values) return {};
  const names = Object.keys({ ...row.old_values, ...row.new_values }).filter(
    (name) => JSON.stringify(row.old_values[name]) !== JSON.stringify(row.new_values[name]),
  );
  const part = (values) => Object.fromEntries(names.map((name) => [name, values[name] ?? null]));
  return { old_values: part(row.old_values), new_values: part(row.new_values) };
}

function mood(column, value) {
  if (column.name === "last_check_status")
    return value === "failed"
      ? "bad"
      : value === "passed"
        ? "good"
        : value === "warned"
          ? "even"
          : "";
  if (column.name === "status" || column.name === "severity") {
    return ["limit_reached", "critical", "high"].includes(value) ? "bad" : "";
  }
  return "";
}

export function alerts(tile, { data, meta }, { options, redraw, act, isAnalyst }) {
  const names = [
    "severity",
    "title",
    "message",
    "created_at",
    "acknowledged_by",
    "resolved_by",
    "resolved_at",
  ];
  const columns = names.map((name) => ({ name, ...tile.columns[name] }));
  const shown = data.slice(0, tile.limit);
  const rows = shown.map((row) => names.map((name) => row[name]));
  const button = (row, verb, label) =>
    element(
      "button",
      { type: "button", class: "quiet", onclick: (event) => act(row, verb, event.currentTarget) },
      label,
      element("span", { class: "unseen" }, `: ${row.title}`),
    );
  const list = element(
    "ul",
    { class: "alerts" },
    ...shown.map((row) =>
      element(
        "li",
        { class: row.severity },
        element(
          "p",
          {},
          element(
            "strong",
            { class: ["critical", "high"].includes(row.severity) ? "bad" : null },
            row.severity,
          ),
          ` ${row.title}`,
        ),
        element(
          "p",
          { class: "note" },
          `${row.message} `,
          element(
            "time",
            { datetime: row.created_at },
            cell(row.created_at, { type: "timestamptz" }),
          ),
        ),
        element(
          "p",
          { class: "actions" },
          row.acknowledged_by ? `Acknowledged by ${row.acknowledged_by}. ` : null,
          row.resolved
            ? `Resolved${row.resolved_by ? ` by ${row.resolved_by}` : " by itself"}, ${cell(row.resolved_at, { type: "timestamptz" })}.`
            : null,
          isAnalyst && !row.resolved && !row.acknowledged_by
            ? button(row, "acknowledge", "Acknowledge")
            : null,
          isAnalyst && !row.resolved ? button(row, "resolve", "Resolve") : null,
        ),
      ),
    ),
  );
  const open = data.filter((row) => !row.resolved);
  const urgent = open.filter((row) => ["critical", "high"].includes(row.severity)).length;
  const count = open.length
    ? `${open.length}${meta.next_cursor ? " or more" : ""} open, ${urgent} of them high or critical.`
    : "Nothing is open.";
  const toggle = element(
    "label",
    { class: "pick" },
    element("input", {
      type: "checkbox",
      checked: options.includeResolved,
      onchange: (event) => redraw({ includeResolved: event.target.checked }),
    }),
    " With resolved ones",
  );
  const isMore = data.length > shown.length || meta.next_cursor;
  return {
    node: element(
      "div",
      {},
      element("p", { class: "count" }, element("strong", {}, count)),
      toggle,
      element("p", { class: "outcome", role: "status" }, options.outcome ?? ""),
      shown.length ? list : null,
      isMore
        ? element("p", { class: "note" }, `The newest ${shown.length} of ${data.length}.`)
        : null,
    ),
    columns,
    rows,
    isEmpty: false,
  };
}

export function summary(tile, { data }) {
  const found = Object.assign({}, ...Object.values(data));
  const columns = tile.by.map((name) => ({ name, ...tile.columns[name] }));
  return {
    node: element(
      "dl",
      { class: "summary" },
      ...columns.map((column) =>
        element(
          "div",
          { title: column.about },
          element("dt", {}, column.label),
          element("dd", {}, amount(found[column.name], column.unit)),
        ),
      ),
    ),
    columns,
    rows: [tile.by.map((name) => found[name])],
    isEmpty: false,
  };
}
