// Reads rows from the HTTP API. Tiles that ask the same share one request.

import { monthStart, plusDays } from "./range.js";

const PAGE_ROWS = 10_000;
const MOST_PAGES = 5;
const SLOWEST_MS = 30_000;

// Why there are no rows: the state that a tile takes, and what it says.
export class Trouble extends Error {
  constructor(state, detail, hint) {
    super(detail);
    this.state = state;
    this.hint = hint ?? "";
  }
}

const root = document.body.dataset.root;
let known = new Map();

export function forget(address) {
  if (address) known.delete(address);
  else known = new Map();
}

// Returns the address of a tile's rows, for a range and the filters of the page.
export function addressOf(tile, range, filters, options = {}) {
  const search = new URLSearchParams();
  if (tile.path === "/v1/alerts") {
    if (options.includeResolved) search.set("include_resolved", "true");
  } else if (tile.path === "/v1/funnel") {
    search.set("from", range.from);
    search.set("to", range.to);
    if (filters.client_id) search.set("client_id", filters.client_id[0]);
  } else if (!tile.path.includes("?")) {
    search.set("columns", tile.fetch.join(","));
    if (tile.has_range) {
      search.set("from", firstDay(tile, range));
      search.set("to", range.to);
    }
    for (const name of tile.filters) {
      for (const value of filters[name] ?? []) search.append(name, value);
    }
    for (const [name, value] of Object.entries(tile.fixed)) search.set(name, value);
    const isSome = tile.kind === "rows" && !tile.only;
    if (tile.kind === "rows") search.set("order", tile.order);
    search.set("limit", isSome ? tile.limit : PAGE_ROWS);
  }
  return `${root}${tile.path}${search.size ? `?${search}` : ""}`;
}

// Returns the first day that a tile reads: months are read whole, and a bridge from the day before.
export function firstDay(tile, range) {
  let from = tile.compares && range.days ? range.previousFrom : range.from;
  if (tile.kind === "bridge") return plusDays(monthStart(range.from), -1);
  if (tile.unit === "month") from = monthStart(from);
  if (!tile.most_days) return from;
  const least = plusDays(range.to, -tile.most_days);
  return from < least ? least : from;
}

// Returns {data, meta}. Throws Trouble.
export function rowsOf(tile, address) {
  const isWhole = tile.kind !== "rows" || Boolean(tile.only);
  if (!known.has(address)) known.set(address, readAll(address, isWhole));
  return known.get(address);
}

async function readAll(address, isWhole) {
  const first = await read(address);
  let { next_cursor: cursor } = first.meta ?? {};
  for (let page = 1; cursor && isWhole; page += 1) {
    if (page === MOST_PAGES) {
      throw new Trouble(
        "failed",
        "There are too many rows to sum up here.",
        "Choose a client, or fewer days.",
      );
    }
    const more = await read(`${address}&cursor=${encodeURIComponent(cursor)}`);
    first.data.push(...more.data);
    cursor = more.meta.next_cursor;
  }
  return first;
}

export async function read(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(SLOWEST_MS),
      ...options,
    });
  } catch (error) {
    const isSlow = error.name === "TimeoutError";
    throw new Trouble(
      "failed",
      isSlow
        ? `The API did not answer within ${SLOWEST_MS / 1000} s.`
        : "The API can't be reached.",
      "Try again.",
    );
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body) return body;
  const { error, detail, hint } = body ?? {};
  if (answer.status === 401) throw new Trouble("signed_out", "Your session has ended.");
  const states = { not_built: "not_built", not_in_plan: "not_in_plan" };
  throw new Trouble(
    states[error] ?? "failed",
    detail ?? `The API answered with status ${answer.status}.`,
    hint,
  );
}
