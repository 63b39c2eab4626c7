// Where events wait until the collector has them: IndexedDB, else local storage, else nowhere
// (then they live as long as the page).

import { forget, names, recall, remember } from "./storage";

/** The JSON of an event, under a key. */
export interface Entry {
  key: string;
  text: string;
}

export interface Store {
  /** Returns the entries whose keys start with `start`, in order. */
  list(start: string): Promise<Entry[]>;
  write(entries: Entry[]): Promise<unknown>;
  remove(entries: Entry[]): Promise<unknown>;
}

const NAME = "wh";
const QUEUE = "queue/";
let database: IDBDatabase | undefined;

export async function openStore(): Promise<Store> {
  try {
    database = await open();
    return inDatabase;
  } catch {
    return inLocalStorage;
  }
}

/** Removes the database. Tabs that have it open let go of it. */
export function removeStore(): void {
  database?.close();
  indexedDB.deleteDatabase(NAME);
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME);
    request.onupgradeneeded = () => request.result.createObjectStore(QUEUE, { keyPath: "key" });
    request.onerror = reject;
    request.onsuccess = () => {
      const opened = request.result;
      opened.onversionchange = () => opened.close();
      resolve(opened);
    };
  });
}

/** Runs requests in a transaction; returns the result of a single one once it is committed. */
function transact(work: (queue: IDBObjectStore) => any): Promise<any> {
  return new Promise((resolve, reject) => {
    const transaction = database!.transaction(QUEUE, "readwrite");
    const request = work(transaction.objectStore(QUEUE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = reject;
    // A page that ends takes its open transactions with it, not those that are being committed.
    transaction.commit?.();
  });
}

const inDatabase: Store = {
  list: (start) => transact((queue) => queue.getAll(IDBKeyRange.bound(start, start + "~"))),
  write: (entries) => transact((queue) => entries.map(({ key, text }) => queue.put({ key, text }))),
  remove: (entries) => transact((queue) => entries.map(({ key }) => queue.delete(key))),
};

const inLocalStorage: Store = {
  list: async (start) =>
    names(QUEUE + start).map((rest) => ({ key: start + rest, text: recall(QUEUE + start + rest) })),
  async write(entries) {
    for (const { key, text } of entries) if (!remember(QUEUE + key, text)) throw 0;
  },
  remove: async (entries) => entries.forEach(({ key }) => forget(QUEUE + key)),
};
