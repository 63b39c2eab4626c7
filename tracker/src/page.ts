// The page that is open, and when another one is.

import { guarded, on } from "./guard";

/** Returns the page and campaign of a context. */
export function describe(): { page: Record<string, string | undefined>; campaign?: Record<string, string> } {
  const { href, pathname, search } = location;
  let campaign: Record<string, string> | undefined;
  for (const [name, value] of new URLSearchParams(search)) {
    const member = /^utm_(source|medium|campaign|term|content)$/.exec(name)?.[1];
    if (member) (campaign ??= {})[member === "campaign" ? "name" : member] = value;
  }
  return {
    page: { url: href.split("#")[0]!, path: pathname, title: document.title },
    campaign,
  };
}

/** Calls `view` now and whenever the path changes or the page is shown again. */
export function watch(view: () => void): void {
  let path: string | undefined;
  const moved = guarded(() => {
    if (path !== location.pathname) {
      path = location.pathname;
      view();
    }
  });
  for (const name of ["pushState", "replaceState"] as const) {
    const original = history[name];
    history[name] = function (...given) {
      original.apply(this, given);
      moved();
    };
  }
  on(window, "popstate", moved);
  on(window, "pageshow", (event) => event.persisted && view());
  moved();
}
