// Tables, and what the columns of a tile and of its CSV are.

import { element } from "./dom.js";
import { amount, cell, unitName } from "./format.js";

const isNumber = (column) =>
  ["integer", "bigint", "numeric"].includes(column.type) || column.type === "figure";

export function textOf(name, label = name) {
  return { name, label, type: "text", unit: null, about: "" };
}

export function figureColumn(measure) {
  return {
    name: measure.name,
    label: measure.label,
    type: "figure",
    unit: measure.unit,
    about: measure.about,
  };
}

// Two measures may be made of the same column: then the second takes its label's name.
export function figureColumns(measures) {
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
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...columns.map((column) =>
            element(
              "th",
              {
                scope: "col",
                title: column.about || null,
                class: isNumber(column) ? "number" : null,
              },
              column.label,
              unitMark(column),
            ),
          ),
        ),
      ),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element(
            "tr",
            {},
            ...columns.map((column, at) => {
              const text = cellText(row[at], column);
              const isBar = at === options.bars && most > 0;
              return element(
                at === 0 ? "th" : "td",
                {
                  scope: at === 0 ? "row" : null,
                  class:
                    [isNumber(column) ? "number" : "", isBar ? "bar" : "", options.class?.(row, at)]
                      .filter(Boolean)
                      .join(" ") || null,
                  "--share": isBar ? Math.max(0, (row[at] ?? 0) / most) : null,
                },
                text,
              );
            }),
          ),
        ),
      ),
    ),
  );
}

// Values say the other units themselves.
const SILENT = new Set([
  "",
  "USD",
  "percent",
  "count",
  "tokens",
  "seconds",
  "milliseconds",
  "hours",
]);

function unitMark(column) {
  const unit = isNumber(column) ? unitName(column.unit) : "";
  return SILENT.has(unit) ? null : element("small", {}, ` ${unit}`);
}

function cellText(value, column) {
  if (column.type === "figure") return amount(value, column.unit);
  if (column.type === "step") return value.replaceAll("_", " ");
  return cell(value, column);
}

export function details(title, columns, rows) {
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
