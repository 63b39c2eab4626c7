// A page: its address holds the range and the filters, and each tile loads what they say.

import { element } from "./dom.js";
import { plusDays, rangeOf, searchOf, stateOf } from "./range.js";
import { forget, read } from "./rows.js";
import { Tile } from "./tile.js";
import { age, instant } from "./format.js";

const MOST_OFFERED = 200;
// Figures of a nightly build are a day old, and two where one failed.
const OLD_SECONDS = 2 * 86_400;
const main = document.querySelector("main");
const form = document.getElementById("filters");
const names = [...form.querySelectorAll("input[list]")].map((input) => input.name);
const presets = [...(form.elements.range?.options ?? [])]
  .map((option) => option.value)
  .filter((value) => value !== "free");

const page = {
  root: document.body.dataset.root,
  asOf: main.dataset.asOf,
  isAnalyst: main.dataset.analyst === "true",
  now: null,
  range: null,
  // For tiles of what the warehouse did: of the same length, until now.
  clockRange: null,
  filters: {},
  state: null,
  get hasClient() {
    return !this.isAnalyst || Boolean(this.filters.client_id);
  },
  labelOf(name) {
    return form.querySelector(`label[for="filter-${name}"]`)?.textContent ?? name;
  },
  signInLink() {
    const then = location.pathname + location.search;
    return `${this.root}/sign-in?next=${encodeURIComponent(then)}`;
  },
  // Values that rows have are offered in the filters.
  offer(tile, rows) {
    if (!Array.isArray(rows)) return;
    for (const name of tile.filters) {
      const list = document.getElementById(`values-${name}`);
      if (!list || name === "client_id") continue;
      const known = new Set([...list.options].map((option) => option.value));
      for (const row of rows) {
        const value = row[name];
        if (typeof value !== "string" || known.has(value) || known.size >= MOST_OFFERED) continue;
        known.add(value);
        list.append(element("option", { value }));
      }
    }
  },
  // The tracker is there where a collector is configured; it sends nothing without consent.
  note(event, properties = {}) {
    window.warehouse?.track(event, { view: main.dataset.page, ...properties });
  },
};

const tiles = [...document.querySelectorAll("[data-tile]")].map((one) => new Tile(one, page));

function follow() {
  page.state = stateOf(location.search, names, presets, main.dataset.days);
  page.filters = page.state.filters;
  page.range = rangeOf(page.state, page.asOf);
  page.now = new Date().toISOString();
  page.clockRange = rangeOf(page.state, page.now);
  show();
  forget();
  for (const tile of tiles) tile.load();
}

// Put the state into the form, and say in words which days are shown.
function show() {
  const { state, range } = page;
  if (form.elements.range) {
    form.elements.range.value = state.days;
    form.elements.from.value = range.from;
    form.elements.through.value = plusDays(range.to, -1);
    for (const field of form.querySelectorAll("[data-free]")) field.hidden = state.days !== "free";
  }
  for (const name of names) form.elements[name].value = (state.filters[name] ?? []).join(" | ");
  const complete = range.days
    ? `${range.days} complete days, ${range.from} to ${plusDays(range.completeTo, -1)}`
    : "";
  const running =
    range.to > range.today
      ? `${complete ? ", and " : ""}${range.today}, still running at ${instant(new Date(page.asOf).toISOString()).slice(11)}`
      : "";
  document.getElementById("about-range").textContent = presets.length
    ? `${complete}${running}. Figures count complete days.`
    : "";
  const seconds = (Date.parse(page.now) - Date.parse(page.asOf)) / 1000;
  const notice = document.getElementById("old");
  notice.hidden = seconds < OLD_SECONDS;
  notice.textContent = notice.hidden
    ? ""
    : `These figures are not of today: they were built as of ${instant(new Date(page.asOf).toISOString())}, ${age(seconds)}.`;
}

function change() {
  const data = new FormData(form);
  const state = { days: data.get("range"), filters: {} };
  if (!presets.length) state.days = main.dataset.days;
  if (state.days === "free") {
    const [from, through] = [data.get("from"), data.get("through")].sort();
    if (!from || !through) return;
    Object.assign(state, { from, through });
  }
  for (const name of names) {
    const values = data
      .get(name)
      .split(" | ")
      .map((value) => value.trim())
      .filter(Boolean);
    if (values.length) state.filters[name] = values;
  }
  const search = searchOf(state, main.dataset.days);
  if (search === location.search) return;
  history.pushState(null, "", location.pathname + search);
  follow();
  page.note("analytics.filter_change", { filter: Object.keys(state.filters).join(" ") || "range" });
}

async function offerClients() {
  const list = document.getElementById("values-client_id");
  const address = `${page.root}/v1/marts/clients?columns=client_id,name&limit=1000`;
  const { data } = await read(address).catch(() => ({ data: [] }));
  list.append(...data.map((one) => element("option", { value: one.client_id }, one.name ?? "")));
}

form.addEventListener("change", change);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  change();
});
form.addEventListener("reset", () => {
  history.pushState(null, "", location.pathname);
  // The browser empties the form after this.
  setTimeout(follow);
});
form.elements.client_id?.addEventListener("focus", offerClients, { once: true });
addEventListener("popstate", follow);
page.note("analytics.dashboard_view");
// Charts are painted with the colours of the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const tile of tiles) if (tile.section.dataset.state === "ready") tile.draw();
});
follow();
