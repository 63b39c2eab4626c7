// `<script defer src="…/tracker.js" data-key="wk_…">`: starts with what its attributes say.

import { guarded } from "./guard";
import { init, type Options } from "./tracker";

guarded(() => {
  const script = document.currentScript as HTMLScriptElement;
  const { key, url, source, consent } = script.dataset;
  init({ key: key!, url: url ?? new URL(script.src).origin, source, consent: consent as Options["consent"] });
})();
