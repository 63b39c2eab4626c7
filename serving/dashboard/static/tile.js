// A tile: it loads, fails and is retried alone, and says what its figures are worth.

import { element } from "./dom.js";
import { age, csv, instant } from "./format.js";
import { addressOf, forget, read, rowsOf, Trouble } from "./rows.js";
import { VIEWS } from "./views.js";

const SLOW_MS = 4_000;
const TITLES = {
  empty: "Nothing in this period",
  not_built: "Not built yet",
  not_in_plan: "Not for your plan",
  signed_out: "Your session has ended",
  failed: "This could not be loaded",
};

const CHECKED = {
  passed: "✓ checked",
  "constraints only": "✓ constraints hold",
  warned: "! a check warns",
};

export class Tile {
  // `page` gives the range, the filters, and who looks.
  constructor(section, page) {
    this.section = section;
    this.page = page;
    this.about = JSON.parse(section.dataset.tile);
    this.content = section.querySelector(".content");
    this.worth = section.querySelector(".worth");
    this.button = section.querySelector(".csv");
    this.options = {};
    this.asked = 0;
    this.button.addEventListener("click", () => this.export());
  }

  get isShown() {
    const { shown } = this.about;
    return shown === "always" || (shown === "one_client") === this.page.hasClient;
  }

  get range() {
    return this.about.is_by_clock ? this.page.clockRange : this.page.range;
  }

  async load() {
    this.section.hidden = !this.isShown;
    if (this.section.hidden) return;
    const asked = ++this.asked;
    const hadFocus = this.content.contains(document.activeElement);
    const { filters } = this.page;
    const range = this.range;
    this.wait(asked);
    try {
      this.address = addressOf(this.about, range, filters, this.options);
      this.found = await rowsOf(this.about, this.address);
    } catch (trouble) {
      if (asked !== this.asked) return;
      forget(this.address);
      this.say(trouble.state ?? "failed", trouble.message, trouble.hint);
      return;
    }
    if (asked !== this.asked) return;
    try {
      this.draw();
      if (hadFocus && !this.content.contains(document.activeElement)) this.section.focus();
    } catch (fault) {
      this.say("failed", "The figures came, and could not be drawn.");
      throw fault;
    }
  }

  wait(asked) {
    this.section.dataset.state = "loading";
    this.content.setAttribute("aria-busy", "true");
    this.button.disabled = true;
    this.worth.replaceChildren();
    const text = element("span", { class: "unseen" }, "Loading");
    this.content.replaceChildren(element("div", { class: "skeleton", role: "status" }, text));
    setTimeout(() => {
      if (asked === this.asked && this.section.dataset.state === "loading") {
        text.classList.remove("unseen");
        text.textContent = "Still loading…";
      }
    }, SLOW_MS);
  }

  draw() {
    const { isAnalyst } = this.page;
    const { range } = this;
    const asOf = this.about.is_by_clock ? this.page.now : this.page.asOf;
    const view = VIEWS[this.about.kind](this.about, this.found, {
      range,
      asOf,
      isAnalyst,
      options: this.options,
      redraw: (options) => this.change(options),
      act: (row, verb, button) => this.act(row, verb, button),
    });
    this.page.offer(this.about, this.found.data);
    this.shown = view;
    this.value(this.found.meta);
    if (view.isEmpty) {
      this.say(
        "empty",
        this.about.is_dense || !this.about.has_range
          ? ""
          : "The mart has rows only where something happened.",
      );
      return;
    }
    this.section.dataset.state = "ready";
    this.content.removeAttribute("aria-busy");
    this.content.replaceChildren(view.node);
    this.button.disabled = false;
  }

  // Show otherwise; what needs other rows asks for them.
  change(options) {
    Object.assign(this.options, options);
    const chosen = document.activeElement?.tagName;
    if ("includeResolved" in options) this.load();
    else {
      this.draw();
      if (this.content.contains(document.activeElement) || !chosen) return;
      this.content.querySelector(chosen)?.focus();
    }
  }

  say(state, detail, hint = "") {
    this.section.dataset.state = state;
    this.content.removeAttribute("aria-busy");
    this.button.disabled = true;
    const again = element(
      "button",
      { type: "button", class: "quiet", onclick: () => this.load() },
      "Try again",
    );
    const signIn = element("a", { href: this.page.signInLink() }, "Sign in again");
    const action = { failed: again, not_built: again, signed_out: signIn }[state] ?? null;
    const title = state === "empty" && !this.about.has_range ? "Nothing here" : TITLES[state];
    this.content.replaceChildren(
      element(
        "div",
        { class: "state", role: state === "failed" ? "alert" : "status" },
        element("p", {}, element("strong", {}, title)),
        detail || hint ? element("p", { class: "note" }, `${detail} ${hint}`) : null,
        action,
      ),
    );
  }

  // How fresh and checked the figures are, and which filters they do not follow.
  value(meta) {
    const status = meta.last_check_status;
    const checked =
      status === "failed"
        ? element("span", { class: "bad" }, "✗ a check failed: don't rely on it")
        : element("span", {}, CHECKED[status] ?? "not checked");
    const asOf = meta.built_as_of
      ? element(
          "span",
          { title: `As of ${instant(new Date(meta.built_as_of).toISOString())}` },
          `as of ${instant(new Date(meta.built_as_of).toISOString())}, ${age(meta.freshness_seconds)}`,
        )
      : element("span", {}, "as it is now");
    const ignored = Object.keys(this.page.filters).filter(
      (name) =>
        !this.about.filters.includes(name) &&
        !(name === "client_id" && this.about.path === "/v1/funnel"),
    );
    this.worth.replaceChildren(asOf);
    if (meta.built_as_of) this.worth.append(" · ", checked);
    if (this.about.has_range && this.range.to !== this.page.range.to) {
      this.worth.append(` · ${this.range.from} to ${this.range.today}`);
    }
    if (ignored.length) {
      this.worth.append(
        " · ",
        element(
          "strong",
          { class: "ignored" },
          `not filtered by ${ignored.map((name) => this.page.labelOf(name)).join(", ")}`,
        ),
      );
    }
    this.section.classList.toggle("failed-check", status === "failed");
  }

  async act(row, verb, button) {
    button.disabled = true;
    const address = `${this.page.root}/v1/alerts/${encodeURIComponent(row.alert_id)}/${verb}`;
    try {
      await read(address, { method: "POST" });
      this.options.outcome = `${verb === "resolve" ? "Resolved" : "Acknowledged"}: ${row.title}`;
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      this.options.outcome = `${trouble.message} ${trouble.hint}`;
    }
    forget(this.address);
    await this.load();
    this.content.querySelector(".outcome")?.scrollIntoView({ block: "nearest" });
  }

  export() {
    const { columns, rows } = this.shown;
    const { range } = this;
    const days = this.about.has_range ? `-${range.from}-${range.to}` : "";
    const link = element("a", {
      href: URL.createObjectURL(new Blob([csv(columns, rows)], { type: "text/csv" })),
      download: `${this.about.mart}-${this.about.id}${days}.csv`,
    });
    link.click();
    // The download may begin after this.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    this.page.note("analytics.export", { format: "csv" });
  }
}
