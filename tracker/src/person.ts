// Whether the person consents, and who they are. Their record in local storage is the consent:
// it exists from the opt-in to the refusal, and every tab looks at it before each event.

import { uuid } from "./guard";
import { forget, names, recall, remember } from "./storage";

const PERSON = "person";
const SESSION_GAP = 30 * 60_000;

interface Person {
  anonymous?: string;
  user?: string;
  session?: string;
  /** When a page was last viewed, in milliseconds. */
  viewed?: number;
}

let person: Person | undefined;
let isStored = false;
/** A user who was identified before the opt-in. */
let earlyUser: string | undefined;

/** Returns whether the browser itself refuses, for all sites. */
export function browserRefuses(): boolean {
  const { globalPrivacyControl, doNotTrack } = navigator as any;
  return globalPrivacyControl || /^(1|yes)$/.test(doNotTrack);
}

/** Returns whether the person has opted in, in this tab or another, and not refused since. */
export function consents(): boolean {
  const stored = recall(PERSON);
  if (isStored || !person) {
    person = stored ?? undefined;
    isStored = !!stored;
  }
  // Else storage is full or forbidden: the person is known as long as the page lives.
  return !!person && !browserRefuses();
}

export function optIn(): void {
  if (browserRefuses()) return;
  consents();
  ids(false).user ??= earlyUser;
  save();
}

/** Forgets all that is stored, which other tabs notice. */
export function optOut(): void {
  person = earlyUser = undefined;
  isStored = false;
  names("").forEach(forget);
}

export function identify(user: string): void {
  earlyUser = user;
  if (consents()) {
    person!.user = user;
    save();
  }
}

/** Forgets the ids; the consent stays. */
export function reset(): void {
  earlyUser = undefined;
  if (consents()) {
    person = {};
    save();
  }
}

/** Returns the ids that an event of whoever consents carries. A view keeps the session open. */
export function ids(isView: boolean): Person {
  const now = Date.now();
  person ??= {};
  // Also over where the clock was set back, and where there was none yet.
  const isOver = !(Math.abs(now - person.viewed!) < SESSION_GAP);
  person.anonymous ||= uuid();
  if (isOver) person.session = uuid();
  if (isOver || isView) {
    person.viewed = now;
    save();
  }
  return person;
}

function save(): void {
  isStored = !!remember(PERSON, person);
}
