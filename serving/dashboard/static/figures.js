// How rows become figures. Rates come from their parts; a mean over days is never one of means.

// Returns the period of a row as text that sorts: a month, a day or an hour.
export function periodOf(tile, row) {
  if (tile.period.length > 1) {
    return `${row[tile.period[0]]}-${String(row[tile.period[1]]).padStart(2, "0")}`;
  }
  const value = row[tile.period[0]];
  return tile.unit === "hour" ? hourOf(value) : value && value.slice(0, 10);
}

export function hourOf(instant) {
  return `${new Date(instant).toISOString().slice(0, 13)}:00Z`;
}

function sum(rows, column) {
  let total = 0;
  for (const row of rows) total += row[column] ?? 0;
  return exact(total);
}

// Sums of decimals, without the last digits that binary fractions add.
export function exact(number) {
  return Number(number.toPrecision(14));
}

export function latest(tile, rows) {
  let last = null;
  if (tile.period.length) {
    for (const row of rows) {
      const period = periodOf(tile, row);
      if (last === null || period > last) last = period;
    }
  }
  return last;
}

// Returns one figure of some rows; null over nothing, where it is no sum. `days` are those of the
// rows, which only a daily mean needs; `last` is the period at whose end amounts are meant.
export function figureOf(measure, rows, tile, { days = 1, last = latest(tile, rows) } = {}) {
  const { name, how, of } = measure;
  switch (how) {
    case "sum":
      return sum(rows, name);
    case "rows":
      return rows.length;
    case "daily_mean":
      return days ? exact(sum(rows, name) / days) : null;
    case "last":
      return last
        ? sum(
            rows.filter((row) => periodOf(tile, row) === last),
            name,
          )
        : null;
    case "max": {
      const values = rows.map((row) => row[name]).filter((value) => value !== null);
      return values.length ? Math.max(...values) : null;
    }
    case "ratio": {
      const whole = of.reduce((total, column) => total + sum(rows, column), 0);
      return whole ? Math.round((10_000 * sum(rows, name)) / whole) / 100 : null;
    }
    case "weighted": {
      const known = rows.filter((row) => row[name] !== null);
      const weight = sum(known, of[0]);
      if (!weight) return null;
      return Math.round(known.reduce((total, row) => total + row[name] * row[of[0]], 0) / weight);
    }
    default:
      throw new Error(`unknown way to sum up: ${how}`);
  }
}

// Returns [key, rows] for each combination of values of some columns.
export function groups(rows, columns) {
  const found = new Map();
  for (const row of rows) {
    const key = columns.map((name) => row[name]);
    const id = JSON.stringify(key);
    if (!found.has(id)) found.set(id, [key, []]);
    found.get(id)[1].push(row);
  }
  return [...found.values()];
}

// Returns the periods of a range, in order, as `periodOf` writes them.
export function periods(unit, from, to, asOf) {
  const found = [];
  const at = new Date(`${from}T00:00:00Z`);
  const end = Math.min(Date.parse(`${to}T00:00:00Z`), Date.parse(asOf) + 1);
  if (unit === "month") at.setUTCDate(1);
  if (unit === "week") at.setUTCDate(at.getUTCDate() + ((8 - at.getUTCDay()) % 7));
  while (at.getTime() < end) {
    if (unit === "hour") found.push(hourOf(at));
    else found.push(at.toISOString().slice(0, unit === "month" ? 7 : 10));
    if (unit === "hour") at.setUTCHours(at.getUTCHours() + 1);
    else if (unit === "month") at.setUTCMonth(at.getUTCMonth() + 1);
    else at.setUTCDate(at.getUTCDate() + (unit === "week" ? 7 : 1));
  }
  return found;
}

// Returns the change in percent, of a percentage in points; null where there is nothing to compare.
export function changeOf(now, before, unit) {
  if (now === null || before === null) return null;
  if (unit === "percent") return exact(Math.round(100 * (now - before)) / 100);
  return before === 0 ? null : Math.round((1000 * (now - before)) / Math.abs(before)) / 10;
}
