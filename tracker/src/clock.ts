// How far the browser's clock is off. Events are corrected before they are first sent, never later:
// with another timestamp the warehouse would take them for other events.

const TOLERATED = 5 * 60_000;

/** Browser minus server in milliseconds, 0 where the difference is tolerated. */
export let skew: number | undefined;

/** Compares the server's time with the middle of the time that asking for it took. */
export function compare(serverTime: unknown, asked: number): void {
  const difference = (asked + Date.now()) / 2 - Date.parse(serverTime as string);
  skew = Math.abs(difference) > TOLERATED ? difference : 0;
}

/** Corrects an event's timestamp, once. */
export function correct(event: any): void {
  if (skew && event.context.clock_skew_seconds === undefined) {
    event.timestamp = new Date(Date.parse(event.timestamp) - skew).toISOString();
    event.context.clock_skew_seconds = Math.round(skew / 1_000);
  }
}
