// A slot is one producer of gapless sequence numbers: its id, its record in local storage and the
// Web Lock of the tab that uses it. A tab takes a free one, so that numbers continue over visits;
// it makes a new one where all are in use. Without Web Locks each page has a new one.

import { uuid } from "./guard";
import { forget, names, recall, remember } from "./storage";

const RECORD = "slot/";

export interface Slot {
  /** The key of the site, a slash, a UUID. */
  id: string;
  /** The sequence number of the next event. */
  next: number;
  /** Events before this number have been sent as they are, or may have been: they stay so. */
  settled: number;
  /** Events that were lost and are not reported yet. */
  unreported: number;
  release(): void;
}

/** The slots that this tab holds, by id. */
export const held = new Map<string, Slot>();

/** Returns a slot of the site's key, free or new. */
export async function claim(key: string): Promise<Slot> {
  for (const rest of names(RECORD + key + "/")) {
    const slot = await hold(key + "/" + rest);
    if (slot) return slot;
  }
  const fresh = unlocked(key);
  return (await hold(fresh.id, fresh)) ?? fresh;
}

/** Returns a slot unless a tab holds it, be it this one. What has no record is settled. */
export async function hold(id: string, fresh?: Slot): Promise<Slot | undefined> {
  const release = navigator.locks ? await lock(id) : () => {};
  if (!release || held.has(id)) return undefined;
  const [next, settled, unreported] = recall(RECORD + id) ?? [0, Infinity, 0];
  const slot = { id, next, settled, unreported, ...fresh, release };
  held.set(id, slot);
  return slot;
}

/** Returns a new slot that nothing protects: for what is tracked while the page goes away. */
export function unlocked(key: string): Slot {
  return { id: key + "/" + uuid(), next: 0, settled: 0, unreported: 0, release() {} };
}

/** Stores the numbers. A record that cannot be kept is removed: no number may be used twice. */
export function save({ id, next, settled, unreported }: Slot): void {
  if (held.has(id) && navigator.locks && !remember(RECORD + id, [next, settled, unreported])) {
    forget(RECORD + id);
  }
}

export function letGo(slot: Slot): void {
  held.delete(slot.id);
  slot.release();
}

/** Returns what releases the lock, undefined if another tab has it. */
function lock(id: string): Promise<(() => void) | undefined> {
  return new Promise((resolve: any) => {
    // Where locks are forbidden, storage is, too: there is nothing to share with other tabs.
    const wait = (granted: unknown) => (granted ? new Promise(resolve) : resolve());
    navigator.locks.request(id, { ifAvailable: true }, wait).catch(wait);
  });
}
