// From an event to the collector's 202: the queue in memory and its copy in the store, batches,
// retries, the end of the page.

import * as backoff from "./backoff";
import * as clock from "./clock";
import { guarded, on } from "./guard";
import { browserRefuses, consents, ids, optIn, optOut } from "./person";
import { claim, held, hold, letGo, save, unlocked, type Slot } from "./slots";
import { openStore, removeStore, type Entry, type Store } from "./store";

const BATCH_EVENTS = 30;
const BATCH_BYTES = 30_000;
const BATCH_AGE = 3_000;
const QUEUE_BYTES = 500_000;
/** A browser sends at most 64 KiB for pages that are gone. */
const LAST_BYTES = 60_000;
const ADOPTION = 15_000;
const TIMEOUT = 30_000;
/** What sequence numbers start from in keys, so that these sort alike. */
const FIRST_KEY = 1e15;
const GIVEN_UP = [400, 401, 403, 413, 415];

interface Queued extends Entry {
  slot: Slot;
  number: number;
  weight: number;
  isStored?: boolean;
  isSending?: boolean;
}

type Answer = Response & { content: string };

export interface Site {
  url: string;
  key: string;
  source: string;
}

let site: Site;

/** Events that have no number yet: consent is missing, or the slot. */
let waiting: string[] = [];
let queue: Queued[] = [];
/** Events that were lost before they had a number. */
let lost = 0;
let own: Slot | undefined;
/** There is one from the opt-in to the refusal. */
let store: Promise<Store> | undefined;
let limit = BATCH_EVENTS;
let oldest = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let isRefused = false;
let isSending = false;
let hasEnded = false;
/** Goes up when slots are given back: what began before must not go on. */
let epoch = 0;

export function start(started: Site): void {
  site = started;
  on(window, "pagehide", leave);
  on(window, "pageshow", (event) => event.persisted && comeBack());
  on(document, "visibilitychange", () => {
    if (!document.hidden) return watchOthers();
    if (clock.skew !== undefined) sendLast();
    return send();
  });
  on(window, "online", () => {
    backoff.reconnected();
    return send();
  });
  // Another tab may have opted in or refused.
  on(window, "storage", admit);
  setInterval(guarded(watchOthers), ADOPTION);
  browserRefuses() ? stop() : admit();
}

/** Takes the answer of the person, or returns it: undefined before there is one. */
export function consent(answer?: boolean): boolean | undefined {
  if (answer === true) {
    optIn();
    admit();
  } else if (answer !== undefined) {
    stop();
  }
  return consents() || (isRefused ? false : undefined);
}

/** Takes an event. Until there is consent it waits in memory. */
export function add(event: object): void {
  if (isRefused) return;
  const text = JSON.stringify(event);
  waiting.push(text);
  while (bytes(waiting.join()) > QUEUE_BYTES) {
    // One that has no room by itself makes no other one go.
    bytes(text) > QUEUE_BYTES ? waiting.pop() : waiting.shift();
    lost++;
  }
  admit();
}

/** Forgets everything: the person refuses. */
function stop(): void {
  isRefused = true;
  optOut();
  waiting = [];
  queue = [];
  lost = 0;
  release();
  store = undefined;
  guarded(removeStore)();
}

/** Opens the store and takes a slot, and what earlier pages have left. */
async function begin(): Promise<void> {
  const begun = epoch;
  isRefused = false;
  store ??= openStore();
  const slot = await claim(site.key);
  if (begun !== epoch) return letGo(slot);
  own = slot;
  await load(slot);
  admit();
  await adopt();
  await send(0);
}

/** Gives slots back to other tabs. */
function release(): void {
  epoch++;
  held.forEach(letGo);
  own = undefined;
}

/** Gives the events that wait their numbers and puts them into the queue. */
function admit(): void {
  if (!site || !consents()) {
    if (store) stop();
    return;
  }
  if (!store) guarded(begin)();
  if (hasEnded) own ??= unlocked(site.key);
  if (!own) return;
  const slot = own;
  const entered = waiting.splice(0).map((text) => {
    const event = JSON.parse(text);
    const { anonymous, user, session } = ids(event.event === "page_view");
    let first;
    while (total(queue) + bytes(text) > QUEUE_BYTES && (first = idle()[0])) drop([first]);
    slot.next += lost;
    event.actor = { ...event.actor, anonymous_id: anonymous, user_id: user };
    event.context = {
      ...event.context,
      session_id: session,
      source: site.source,
      consent: { analytics: true },
      producer: location.hostname + slot.id.slice(site.key.length),
      sequence: slot.next,
      dropped: slot.unreported + lost || undefined,
    };
    lost = slot.unreported = 0;
    clock.correct(event);
    return enqueue(slot, `${slot.id}/${FIRST_KEY + slot.next++}`, JSON.stringify(event));
  });
  if (!entered[0]) return;
  save(slot);
  guarded(write)(entered);
  hasEnded ? sendLast() : schedule();
}

function enqueue(slot: Slot, key: string, text: string): Queued {
  const number = +key.slice(slot.id.length + 1) - FIRST_KEY;
  const item = { slot, key, number, text, weight: bytes(text) };
  queue.push(item);
  return item;
}

/** Loads what earlier pages have left in a slot. */
async function load(slot: Slot): Promise<void> {
  const begun = epoch;
  const entries = await (await store!).list(slot.id + "/");
  if (begun !== epoch) return;
  for (const { key, text } of entries) enqueue(slot, key, text).isStored = true;
}

/** Takes over what closed tabs have left. */
async function adopt(): Promise<void> {
  const begun = epoch;
  const left = await (await store!).list(site.key + "/");
  for (const id of new Set(left.map(({ key }) => key.slice(0, key.lastIndexOf("/"))))) {
    const slot = await hold(id);
    if (begun !== epoch) return slot && letGo(slot);
    if (slot) await load(slot);
  }
  schedule();
}

/** Looks for closed tabs. Without locks it cannot know which are. */
function watchOthers(): unknown {
  return own && navigator.locks && adopt();
}

/** Lets the next batch leave when it is full, or its first event old enough. */
function schedule(): void {
  const free = idle();
  if (!free[0] || isSending) return;
  const now = Date.now();
  oldest ||= now;
  const isFull = free.length >= BATCH_EVENTS || total(free) >= BATCH_BYTES;
  const age = isFull ? 0 : Math.min(BATCH_AGE, oldest + BATCH_AGE - now);
  clearTimeout(timer);
  timer = setTimeout(guarded(send), Math.max(age, backoff.wait()));
}

/** Asks for the time if it is not known yet, and sends what is due, a batch after another. */
async function send(due = idle().length): Promise<void> {
  if (isSending || !isAllowed()) return;
  isSending = true;
  try {
    while (isAllowed() && (await settle()) && due > 0) {
      const batch = next();
      if (!batch[0]) break;
      due -= await post(batch);
    }
  } catch {
    backoff.failed();
  } finally {
    isSending = false;
    schedule();
  }
}

/** Sends as much as the browser takes for a page that may be gone; the rest stays in the store. */
function sendLast(): void {
  if (!isAllowed()) return;
  settleAll();
  let room = LAST_BYTES - total(queue.filter((item) => item.isSending));
  for (let batch = next(); batch[0] && (room -= total(batch)) >= 0; batch = next()) {
    guarded(post)(batch);
  }
}

function isAllowed(): boolean {
  return navigator.onLine && consents() && !backoff.wait();
}

/** Corrects events that have never been sent, if need be; returns whether the time is known. */
async function settle(): Promise<boolean> {
  if (clock.skew === undefined) {
    const asked = Date.now();
    const answer = await ask("/health");
    if (!(answer?.status! < 405)) {
      backoff.failed(answer);
      return false;
    }
    clock.compare(guarded(JSON.parse)(answer!.content)?.now, asked);
  }
  const raw = queue.filter((item) => item.number >= item.slot.settled);
  if (clock.skew && raw[0]) {
    for (const item of raw) {
      const event = JSON.parse(item.text);
      clock.correct(event);
      item.text = JSON.stringify(event);
      // Nothing is sent whose correction is not stored: a later page would send another timestamp.
      item.isSending = true;
    }
    await write(raw).catch(() => {});
    raw.forEach((item) => (item.isSending = false));
  }
  settleAll();
  return true;
}

function settleAll(): void {
  queue.forEach(({ slot }) => {
    if (slot.settled < slot.next) {
      slot.settled = slot.next;
      save(slot);
    }
  });
}

function next(): Queued[] {
  const batch: Queued[] = [];
  for (const item of idle()) {
    if (batch.length >= limit || (batch[0] && total([...batch, item]) > BATCH_BYTES)) break;
    if (item.number < item.slot.settled) batch.push(item);
  }
  return batch;
}

/** Sends a batch; returns how many events are done with, one way or the other. */
async function post(batch: Queued[]): Promise<number> {
  batch.forEach((item) => (item.isSending = true));
  const texts = batch.map((item) => item.text);
  const answer = await ask("/api/track", `{"key":"${site.key}","events":[${texts}]}`);
  batch.forEach((item) => (item.isSending = false));
  const status = answer?.status;
  let done = batch.length;
  if (status === 202) {
    backoff.succeeded();
    remove(batch);
  } else if (status === 413 && batch[1]) {
    limit = done >> 1;
    done = 0;
  } else if (GIVEN_UP.includes(status!)) {
    drop(batch);
  } else {
    backoff.failed(answer);
    done = 0;
  }
  if (done) oldest = 0;
  schedule();
  return done;
}

/** Returns the answer, if there is one. What is asked outlives the page. */
async function ask(path: string, body?: string): Promise<Answer | undefined> {
  const url = site.url + path;
  try {
    if (hasEnded && !("keepalive" in Request.prototype)) {
      navigator.sendBeacon(url, body);
      return await new Promise(() => {});
    }
    const answer = await fetch(url, {
      method: body && "POST",
      body,
      keepalive: bytes(body!) < LAST_BYTES,
      credentials: "omit",
      signal: AbortSignal.timeout?.(TIMEOUT),
    });
    // What is not read to its end still counts towards what may outlive a page.
    return Object.assign(answer, { content: await answer.text() });
  } catch {
    return undefined;
  }
}

/** Counts events as lost. */
function drop(items: Queued[]): void {
  remove(items);
  const slot = own ?? items[0]!.slot;
  for (const { text } of items) slot.unreported += 1 + (JSON.parse(text).context.dropped ?? 0);
  save(slot);
}

function remove(items: Queued[]): void {
  queue = queue.filter((item) => !items.includes(item));
  // A slot that has nothing left is free for a new tab.
  if (own && !queue[0]) held.forEach((slot) => slot !== own && letGo(slot));
  store?.then((open) => open.remove(items)).catch(() => {});
}

async function write(items: Queued[]): Promise<void> {
  await (await store!).write(items);
  items.forEach((item) => (item.isStored = true));
}

function leave(): void {
  hasEnded = true;
  admit();
  sendLast();
  release();
}

/** The page is shown again as it was; what it had stored may be another tab's by now. */
function comeBack(): void {
  hasEnded = false;
  queue = queue.filter((item) => !item.isStored);
  queue.forEach((item) => (item.isSending = false));
  // Not at once: the page that was left has just given its slot back, and a request for a lock that
  // it still had would throw it out of the cache.
  setTimeout(guarded(() => (consents() ? begin() : store && stop())), 100);
}

function idle(): Queued[] {
  return queue.filter((item) => !item.isSending);
}

const total = (items: Queued[]): number => items.reduce((sum, { weight }) => sum + weight + 1, 0);
const bytes = (text: string): number => new Blob([text]).size;
