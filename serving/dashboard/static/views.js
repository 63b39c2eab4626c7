// How each kind of tile shows its rows. A view is {node, columns, rows, isEmpty}: the columns and rows
// are exactly what it shows, and its CSV.

import { changes, figure } from "./view_figures.js";
import { alerts, plain, ranked, summary } from "./view_lists.js";
import { funnel, triangle } from "./view_steps.js";
import { bridge, lines } from "./view_time.js";

export const VIEWS = {
  figure,
  chart: lines,
  table: ranked,
  rows: plain,
  changes,
  funnel,
  triangle,
  bridge,
  alerts,
  summary,
};
