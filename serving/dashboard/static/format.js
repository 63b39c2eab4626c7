// Figures and instants as people read them. CSV has them as they are.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

function dollars(amount) {
  const isSmall = amount !== 0 && Math.abs(amount) < 1;
  return amount.toLocaleString("en-US", {
    style: "currency",
    currency: "USD",
    minimumFractionDigits: 2,
    maximumFractionDigits: isSmall ? 4 : 2,
  });
}

// Rounds first: 119.7 s are two minutes, not a minute and 60 seconds.
function duration(seconds) {
  if (Math.round(100 * seconds) < 6_000) return `${precise.format(seconds)} s`;
  const all = Math.round(seconds);
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${precise.format(seconds / 86_400)} days`;
}

export function amount(value, unit) {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "cents":
      return dollars(value / 100);
    case "USD":
      return dollars(value);
    case "percent":
      return `${precise.format(value)} %`;
    case "basis points":
      return `${precise.format(value / 100)} %`;
    case "seconds":
      return duration(value);
    case "milliseconds":
      return value < 10_000 ? `${whole.format(value)} ms` : duration(value / 1000);
    case "hours":
      return `${precise.format(value)} h`;
    case "count":
    case "tokens":
    case "credits":
      return precise.format(value);
    default:
      return precise.format(value);
  }
}

// Returns the unit as a title says it; an amount of money or time says it itself.
export function unitName(unit) {
  return { cents: "USD", "basis points": "percent", "as servers send it": "" }[unit] ?? unit ?? "";
}

export function instant(text) {
  return `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
}

export function age(seconds) {
  if (seconds < 120) return "just now";
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

// Returns a value of a row as a table shows it.
export function cell(value, column) {
  if (value === null || value === undefined) return "–";
  if (column.type === "jsonb") return json(value);
  if (column.type === "timestamptz") return instant(new Date(value).toISOString());
  if (column.type === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return amount(value, column.unit);
  return String(value);
}

function json(value) {
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([name, one]) => `${name}: ${typeof one === "object" ? JSON.stringify(one) : one}`)
    .join(", ");
}

// Returns CSV of columns and rows. Text that a spreadsheet would run as a formula gets a `'`.
export function csv(columns, rows) {
  const lines = [columns.map((column) => column.name), ...rows];
  return lines.map((line) => `${line.map(field).join(",")}\r\n`).join("");
}

function field(value) {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
