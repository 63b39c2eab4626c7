// Local storage, under names of ours: short values that all tabs of the site share at once.
// It may be full or forbidden.

import { guarded } from "./guard";

const PREFIX = "wh.";

/** Returns a value; null or undefined where there is none. */
export const recall = guarded((name: string): any => JSON.parse(localStorage.getItem(PREFIX + name)!));

/** Stores a value and returns whether that worked. */
export const remember = guarded((name: string, value: unknown): boolean => {
  localStorage.setItem(PREFIX + name, JSON.stringify(value));
  return true;
});

export const forget = guarded((name: string): void => localStorage.removeItem(PREFIX + name));

/** Returns the rest of each stored name that starts with `start`, in order. */
export function names(start: string): string[] {
  const all = guarded(() => Object.keys(localStorage))() ?? [];
  const whole = PREFIX + start;
  return all.filter((name) => name.startsWith(whole)).map((name) => name.slice(whole.length)).sort();
}
