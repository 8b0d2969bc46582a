// Looks at a page as people with other eyes, other screens and other preferences do.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import axe from "axe-core";

/** Where the pictures of all pages go. */
export const PICTURES =
  process.env.PRESSLUFT_SCREENSHOTS ?? fileURLToPath(new URL("../../../target/screenshots", import.meta.url));

const THEMES = ["light", "dark"];
const WIDTHS = [1280, 360];

/**
 * Looks at what the page shows now, in both themes and two widths: axe-core finds no violation, nothing is wider than the
 * screen, and a picture of each is kept under this name.
 */
export async function look(page, name) {
  await mkdir(PICTURES, { recursive: true });
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(wide <= width, `${name}: ${wide} pixels wide on a screen of ${width}`);
      assert.deepEqual(await violations(page), [], `${name}, ${colorScheme}, ${width} pixels`);
      await page.screenshot({ path: join(PICTURES, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize({ width: 1280, height: 800 });
}

async function violations(page) {
  // Not by a script element: the page's own policy forbids scripts of others.
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map(({ id, help, nodes }) => {
    const where = nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`);
    return `${id}: ${help}\n${where.join("\n")}`;
  });
}
