// The range and the filters of a page, as its address says them, and what they mean in UTC days.

const DAY = 86_400_000;

export function dayOf(instant) {
  return new Date(instant).toISOString().slice(0, 10);
}

export function plusDays(day, days) {
  return dayOf(Date.parse(`${day}T00:00:00Z`) + days * DAY);
}

export function daysBetween(from, to) {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / DAY);
}

export function monthStart(day) {
  return `${day.slice(0, 7)}-01`;
}

function isDay(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text ?? "") && !Number.isNaN(Date.parse(`${text}T00:00:00Z`));
}

// Returns {days, from, through, filters}; `days` is "free" where the two days are given.
export function stateOf(search, filters, presets, defaultDays) {
  const given = new URLSearchParams(search);
  const state = { days: defaultDays, from: null, through: null, filters: {} };
  if (presets.includes(given.get("range"))) state.days = given.get("range");
  if (isDay(given.get("from")) && isDay(given.get("through"))) {
    Object.assign(state, { days: "free", from: given.get("from"), through: given.get("through") });
  }
  for (const name of filters) {
    const values = given.getAll(name).filter((value) => value !== "");
    if (values.length) state.filters[name] = values;
  }
  return state;
}

export function searchOf(state, defaultDays) {
  const search = new URLSearchParams();
  if (state.days === "free") {
    search.set("from", state.from);
    search.set("through", state.through);
  } else if (state.days !== defaultDays) {
    search.set("range", state.days);
  }
  for (const [name, values] of Object.entries(state.filters)) {
    for (const value of values) search.append(name, value);
  }
  return search.size ? `?${search}` : "";
}

// Returns the half-open range {from, to}, the end of its complete days, their number, and where as
// many days before them begin. The day of `asOf` is still running, and none after it has begun;
// at midnight, none is running.
export function rangeOf(state, asOf) {
  const today = dayOf(asOf);
  const tomorrow = Date.parse(asOf) % DAY ? plusDays(today, 1) : today;
  const isFree = state.days === "free";
  const from = isFree ? state.from : plusDays(today, -Number(state.days));
  const asked = isFree ? plusDays(state.through, 1) : tomorrow;
  const to = asked > tomorrow && from < tomorrow ? tomorrow : asked;
  const completeTo = to > today ? today : to;
  const days = Math.max(0, daysBetween(from, completeTo));
  return { from, to, today, completeTo, days, previousFrom: plusDays(from, -days) };
}
