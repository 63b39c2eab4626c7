// When the collector may be asked again. All tabs share it, and it outlives them.

import { forget, recall, remember } from "./storage";

const RECORD = "backoff";
const FIRST = 1_000;
const LONGEST = 5 * 60_000;
/** A server's wish that is longer than this is a mistake. */
const LONGEST_WISH = 24 * 3_600_000;

/** Failures in a row, the end of the pause by the browser's clock, whether the server asked for it. */
type Backoff = [failures: number, until: number, isWish: boolean];

const NONE: Backoff = [0, 0, false];
let memory = NONE;

const current = (): Backoff => recall(RECORD) ?? memory;

/** Returns for how many milliseconds nothing may be sent. */
export function wait(): number {
  return Math.max(0, Math.min(current()[1] - Date.now(), LONGEST_WISH));
}

/** Notes that an attempt failed, with the answer if there was one. */
export function failed(answer?: Response): void {
  const failures = current()[0] + 1;
  const wish = answer?.headers.get("retry-after");
  const wished = (wish && (+wish * 1_000 || Date.parse(wish) - Date.now())) || 0;
  const pause = Math.min(FIRST * 2 ** failures, LONGEST) * (0.5 + Math.random() / 2);
  memory = [failures, Date.now() + Math.max(pause, wished), wished > 0];
  remember(RECORD, memory);
}

export function succeeded(): void {
  memory = NONE;
  forget(RECORD);
}

/** The connection is back: only what the server asked for still holds. */
export function reconnected(): void {
  if (!current()[2]) succeeded();
}
