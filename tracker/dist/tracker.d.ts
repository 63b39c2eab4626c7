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
declare global {
    interface Window {
        warehouse?: Tracker;
    }
}
/** Starts the tracker. A page has one: later calls return it. On a server it does nothing. */
export declare function init({ url, key, source, consent: mode }: Options): Tracker;
