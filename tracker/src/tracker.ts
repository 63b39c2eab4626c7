// The tracker as pages use it.

import { guarded, on, uuid } from "./guard";
import { describe, watch } from "./page";
import { identify, reset } from "./person";
import { add, consent, start } from "./queue";

export interface Options {
  /** The collector, for example `https://collect.example.com`. */
  url: string;
  /** The site's key, of kind `browser`. */
  key: string;
  /** `web` (the default), `marketing_site` or `builder`. */
  source?: string;
  /** `required` (the default): wait for `consent(true)`. `given`: the site has asked already. */
  consent?: "required" | "given";
}

export interface Tracker {
  /** Tracks an event of the tracking plan. `actor` may name a unit, development or lead. */
  track(event: string, properties?: object, actor?: object): void;
  /** Names the user who is signed in. */
  identify(user: string): void;
  /** Takes the person's answer; without one, returns it: undefined before they have answered. */
  consent(answer?: boolean): boolean | undefined;
  /** Forgets user, visitor and session, as when somebody signs out. */
  reset(): void;
}

/** A module may be rendered on a server; the script never is. */
declare const IN_MODULE: boolean;

declare global {
  interface Window {
    warehouse?: Tracker;
  }
}

/** Starts the tracker. A page has one: later calls return it. On a server it does nothing. */
export function init({ url, key, source = "web", consent: mode }: Options): Tracker {
  if (IN_MODULE && typeof document === "undefined") {
    const nothing = () => undefined;
    return { track: nothing, identify: nothing, consent: nothing, reset: nothing };
  }
  // An element of this id has this name, too.
  if (window.warehouse?.track) return window.warehouse;

  let referrer: string | undefined = document.referrer || undefined;
  /** A view that waits for its title: applications set it after the path. */
  let view: (() => void) | undefined;

  const track: Tracker["track"] = (event, properties, actor) => {
    view?.();
    add({ ...happening(event), actor, properties });
  };
  const see = (): void => {
    view?.();
    const event = happening("page_view");
    event.context.page.referrer = referrer;
    view = () => {
      view = undefined;
      event.context.page.title = document.title;
      add(event);
    };
    setTimeout(guarded(() => view?.()));
    referrer = undefined;
  };
  const begin = (): void => {
    on(window, "pagehide", () => view?.());
    start({ url: url.replace(/\/$/, ""), key, source });
    if (mode === "given") consent(true);
    watch(see);
  };

  window.warehouse = {
    track: guarded(track),
    identify: guarded(identify),
    consent: guarded(consent),
    reset: guarded(reset),
  };
  // A page that is rendered ahead may never be seen.
  if ((document as any).prerendering) on(document, "prerenderingchange", begin);
  else guarded(begin)();
  return window.warehouse;
}

function happening(event: string) {
  return {
    event_id: uuid(),
    event,
    timestamp: new Date().toISOString(),
    context: describe(),
  };
}
