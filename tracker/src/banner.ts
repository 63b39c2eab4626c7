// `<script defer src="consent-banner.js" data-…>`: asks once whether the person agrees, with two
// equal buttons, and again whenever something with the attribute `data-consent-open` is clicked.

import type {} from "./tracker";

/** Where a refusal is remembered: the day, nothing else, so that nobody is asked on every page. */
const REFUSED = "consent-refused";
const REMEMBERED = 180 * 24 * 3_600_000;

const STYLE = `
:host {
  all: initial; position: fixed; inset: auto 0 0 0; z-index: 2147483647; padding: 16px;
  font: 16px/1.5 system-ui, sans-serif; color: #111; pointer-events: none;
}
section {
  display: flex; flex-wrap: wrap; gap: 12px 16px; align-items: center; justify-content: space-between;
  max-width: 720px; margin: 0 auto; padding: 16px 20px; pointer-events: auto;
  background: #fff; border: 1px solid #767676; border-radius: 8px; animation: rise .2s ease-out;
}
p { margin: 0; flex: 1 1 320px; }
a { color: inherit; }
div { display: flex; gap: 12px; flex: 1 1 auto; }
button {
  flex: 1 1 0; min-width: 120px; min-height: 44px; padding: 8px 16px; font: inherit; color: #111;
  background: #f2f2f2; border: 1px solid #767676; border-radius: 6px; cursor: pointer;
}
button:hover { background: #e4e4e4; }
:focus-visible { outline: 3px solid #0b57d0; outline-offset: 2px; }
@keyframes rise { from { transform: translateY(24px); opacity: 0; } }
@media (prefers-reduced-motion: reduce) { section { animation: none; } }
@media (prefers-color-scheme: dark) {
  section, button { background: #1c1c1c; color: #f2f2f2; }
  button:hover { background: #333; }
  :focus-visible { outline-color: #8ab4f8; }
}
`;

const {
  text = "May we count visits to improve this site? Nothing is stored or sent unless you agree.",
  accept = "Agree",
  decline = "Decline",
  label = "Consent to analytics",
  policy,
  policyText = "Privacy policy",
} = (document.currentScript as HTMLElement).dataset;

let host: HTMLElement | undefined;
/** What had the focus before the banner was opened by a click. */
let before: HTMLElement | null = null;

function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  content: string,
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  made.textContent = content;
  return made;
}

function answerButton(content: string, answer: boolean): HTMLButtonElement {
  const button = element("button", content);
  button.type = "button";
  button.addEventListener("click", () => {
    window.warehouse!.consent(answer);
    recordRefusal(!answer);
    close();
  });
  return button;
}

function open(): void {
  if (host) return;
  host = document.createElement("div");
  const shadow = host.attachShadow({ mode: "open" });
  // A sheet made by a script is no inline style: a strict Content-Security-Policy allows it.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  shadow.adoptedStyleSheets = [sheet];

  const section = element("section", "");
  section.setAttribute("aria-label", label);
  const paragraph = element("p", text + " ");
  if (policy) {
    const link = element("a", policyText);
    link.href = policy;
    paragraph.append(link);
  }
  const buttons = element("div", "");
  buttons.append(answerButton(decline, false), answerButton(accept, true));
  section.append(paragraph, buttons);
  shadow.append(section);
  // First in the page, so that it is first for keyboards and screen readers.
  document.body.prepend(host);
}

function close(): void {
  host?.remove();
  host = undefined;
  before?.focus();
  before = null;
}

function recordRefusal(isRefused: boolean): void {
  try {
    if (isRefused) localStorage.setItem(REFUSED, String(Date.now()));
    else localStorage.removeItem(REFUSED);
  } catch {}
}

function hasRefused(): boolean {
  try {
    return Date.now() - Number(localStorage.getItem(REFUSED)) < REMEMBERED;
  } catch {
    return false;
  }
}

/** Asks unless there is an answer; looks for a tracker that a bundle starts later. */
function begin(triesLeft: number): void {
  if (!window.warehouse) {
    if (triesLeft) setTimeout(begin, 100, triesLeft - 1);
  } else if (window.warehouse.consent() === undefined) {
    if (hasRefused()) window.warehouse.consent(false);
    else open();
  }
}

document.addEventListener("click", (event) => {
  const opener = (event.target as Element | null)?.closest<HTMLElement>("[data-consent-open]");
  if (!opener || !window.warehouse) return;
  event.preventDefault();
  open();
  before = opener;
  host!.shadowRoot!.querySelector("button")!.focus();
});
// Another tab has the answer.
addEventListener("storage", () => {
  if (!host || before) return;
  if (hasRefused()) window.warehouse?.consent(false);
  if (window.warehouse?.consent() !== undefined) close();
});
begin(100);
