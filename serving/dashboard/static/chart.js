// Lines over time, drawn by uPlot: with a legend, a tooltip, and a hatched period that still runs.

import { element } from "./dom.js";
import { amount, unitName } from "./format.js";

const HEIGHT = 220;
// Lines differ by their dashes too, for eyes and paper that do not see colours.
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5], [1, 4]];
// Steps of an axis have up to three digits: 0.25, 1,250.
const compact = new Intl.NumberFormat("en-US", {
  notation: "compact",
  maximumSignificantDigits: 3,
});

// Where there is no half of one, the axis names whole numbers; of times, those that people name.
const WHOLE = Array.from({ length: 36 }, (_, at) => [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3));

const TIMES = [1, 5, 15, 30, 60, 300, 600, 1800, 3600, 7200, 18_000, 36_000, 86_400, 864_000];
const STEPS = { count: WHOLE, tokens: WHOLE, seconds: TIMES };

export const MOST_LINES = 6;

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function seconds(key) {
  return (
    Date.parse(
      key.length === 7 ? `${key}-01T00:00:00Z` : key.length === 10 ? `${key}T00:00:00Z` : key,
    ) / 1000
  );
}

function tick(value, unit) {
  if (value === null) return "";
  if (unit === "cents") return `$${compact.format(value / 100)}`;
  if (unit === "USD") return `$${compact.format(value)}`;
  if (unit === "percent") return `${compact.format(value)} %`;
  if (unit === "milliseconds")
    return value < 1000 ? `${value} ms` : `${compact.format(value / 1000)} s`;
  if (unit !== "seconds") return compact.format(value);
  if (value < 60) return `${value} s`;
  return value < 7200 ? `${compact.format(value / 60)} min` : `${compact.format(value / 3600)} h`;
}

function hatched(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = style("--hatch");
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

// Returns the periods that the axis names, as many as there is room for.
function named(keys, width) {
  const step = Math.max(1, Math.ceil(keys.length / Math.max(2, Math.floor(width / 84))));
  return keys.filter((_, at) => at % step === 0);
}

// Returns the element of a chart. `period` is the unit of its periods; `series` are {label, unit, values}, a value for each of `keys`;
// `running` is the key of the period that has not ended.
export function chart(title, period, keys, series, running) {
  const x = keys.map(seconds);
  const runs = keys.indexOf(running);
  const isVisible = series.map(() => true);
  const unit = series[0]?.unit;
  const place = element("div", { class: "canvas" });
  const tip = element("div", { class: "tip", role: "status" });
  let plot = null;

  const shade = (u) => {
    if (runs < 0) return;
    const { left, top, width, height } = u.bbox;
    const start = runs === 0 ? left : u.valToPos((x[runs - 1] + x[runs]) / 2, "x", true);
    u.ctx.fillStyle = hatched(u.ctx);
    u.ctx.fillRect(start, top, left + width - start, height);
  };
  const point = (u) => {
    const { idx } = u.cursor;
    if (idx === null || idx === undefined) {
      tip.replaceChildren();
      return;
    }
    tip.replaceChildren(
      element("strong", {}, keys[idx] + (idx === runs ? " (still running)" : "")),
      ...series
        .filter((_, number) => isVisible[number])
        .map((one) => element("span", {}, `${one.label}: ${amount(one.values[idx], one.unit)}`)),
    );
  };
  const draw = (width) => {
    plot?.destroy();
    const axis = {
      stroke: style("--muted"),
      grid: { stroke: style("--line"), width: 1 },
      ticks: { stroke: style("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    const margin = (x.at(-1) - x[0]) / 60 || 86_400;
    const ticks = named(keys, width);
    const start = period === "month" || keys[0]?.slice(0, 4) !== keys.at(-1)?.slice(0, 4) ? 0 : 5;
    plot = new window.uPlot(
      {
        width,
        height: HEIGHT,
        tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: {
          x: { time: true, range: () => [x[0] - margin, x.at(-1) + margin] },
          y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.06 : 1] },
        },
        axes: [
          {
            ...axis,
            splits: () => ticks.map(seconds),
            values: () => ticks.map((key) => key.slice(start, 10)),
          },
          {
            ...axis,
            size: 64,
            ...(STEPS[unit] ? { incrs: STEPS[unit] } : {}),
            values: (_, values) => values.map((value) => tick(value, unit)),
          },
        ],
        series: [
          {},
          ...series.map((one, number) => ({
            label: one.label,
            show: isVisible[number],
            stroke: style(`--series-${number + 1}`),
            width: 2,
            dash: DASHES[number],
            points: { show: keys.length < 40, size: 5 },
          })),
        ],
        hooks: { draw: [shade], setCursor: [point] },
      },
      [x, ...series.map((one) => one.values)],
      place,
    );
  };
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width && width !== plot?.width) draw(width);
  }).observe(place);

  const legend = element(
    "ul",
    { class: "legend" },
    ...series.map((one, number) => {
      const button = element(
        "button",
        { class: `key series-${number + 1}`, "aria-pressed": "true", type: "button" },
        one.label,
      );
      button.addEventListener("click", () => {
        isVisible[number] = !isVisible[number];
        button.setAttribute("aria-pressed", String(isVisible[number]));
        plot?.setSeries(number + 1, { show: isVisible[number] });
      });
      return element("li", {}, button);
    }),
    ["", "count"].includes(unitName(unit))
      ? null
      : element("li", { class: "unit" }, unitName(unit)),
    runs < 0 ? null : element("li", { class: "unit hatched" }, `${running}: still running`),
  );
  const stage = element(
    "div",
    {
      class: "stage",
      tabindex: "0",
      role: "group",
      "aria-label": `${title}: a chart. The arrow keys go through its periods.`,
    },
    place,
  );
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !plot) return;
    event.preventDefault();
    const at = plot.cursor.idx ?? (step < 0 ? keys.length : -1);
    const next = Math.min(keys.length - 1, Math.max(0, at + step));
    plot.setCursor({ left: plot.valToPos(x[next], "x"), top: HEIGHT / 3 });
  });
  return element("div", { class: "chart" }, legend, stage, tip);
}
