// Which of the rows that were read belong to the range that is shown.

import { periodOf } from "./figures.js";
import { monthStart, plusDays } from "./range.js";
import { firstDay } from "./rows.js";

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
export function shownRows(tile, data, range) {
  return tile.has_range ? inRange(tile, data, firstShown(tile, range), range.to) : data;
}

export function firstShown(tile, range) {
  return firstDay({ ...tile, compares: false }, range);
}

// The rows of the complete days of the range, and of as many before; whether that is all there is.
export function compared(tile, data, range) {
  const now = inRange(tile, data, range.from, range.completeTo);
  const before = inRange(tile, data, range.previousFrom, range.from);
  const first = before.map((row) => periodOf(tile, row)).sort()[0];
  const least = plusDays(range.previousFrom, Math.max(1, Math.round(range.days / 10)));
  return { now, before, isWhole: first !== undefined && first <= least };
}
