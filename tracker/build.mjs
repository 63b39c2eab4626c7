// Bundles the sources into dist/ (or the folder given), after tsc has checked them and written their declarations.
import { build } from "esbuild";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";

const folder = process.argv[2] ?? "dist";
const common = { bundle: true, minify: true, target: "es2022", charset: "utf8", legalComments: "none", tsconfigRaw: {}, mangleProps: /^(isStored|isSending|settled|slot|release|number|weight|unreported|content|next)$/ };

await build({ ...common, entryPoints: ["src/script.ts"], format: "iife", define: { IN_MODULE: "false" }, outfile: join(folder, "tracker.js") });
await build({ ...common, entryPoints: ["src/tracker.ts"], format: "esm", define: { IN_MODULE: "true" }, outfile: join(folder, "tracker.mjs") });
await build({ ...common, entryPoints: ["src/banner.ts"], format: "iife", outfile: join(folder, "consent-banner.js") });
await copyFile("build/tracker.d.ts", join(folder, "tracker.d.ts"));
