// Looks at a page as people with other eyes, other screens and other preferences do.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import axe from "axe-core";

/** Where the pictures of all pages go. */
export const PICTURES =
  process.env.PRESSLUFT_SCREENSHOTS ?? fileURLToPath(new URL("../../../target/screenshots", import.meta.url));

/** What a page is looked at in: colour scheme and width. */
const VIEWS = [["light", 1280], ["light", 360], ["dark", 1280], ["dark", 360]];

/** Each scheme and each width once, where another test looks at such a page in all of them. */
const FEW = [["light", 1280], ["dark", 360]];

/**
 * Looks at what the page shows now, in both themes and two widths: axe-core finds no violation, nothing is wider than the
 * screen, and a picture of each is kept under this name. Where the page runs no scripts, axe-core looks at a `twin` that does.
 */
export async function look(page, name, { twin = page, views = VIEWS } = {}) {
  await mkdir(PICTURES, { recursive: true });
  if (twin !== page) await showSame(page, twin);
  for (const [colorScheme, width] of views) {
    for (const each of new Set([page, twin])) {
      await each.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await each.setViewportSize({ width, height: 800 });
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(wide <= width, `${name}: ${wide} pixels wide on a screen of ${width}`);
    assert.deepEqual(await violations(twin), [], `${name}, ${colorScheme}, ${width} pixels`);
    // Of a page below a dialog no more than what is seen: it would be drawn as if one had scrolled.
    const fullPage = (await page.locator("dialog[open]").count()) === 0;
    await page.screenshot({ path: join(PICTURES, `${name}-${width}-${colorScheme}.png`), fullPage });
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize({ width: 1280, height: 800 });
}

/** A shorter look. */
export const glance = (page, name, options) => look(page, name, { ...options, views: FEW });

/** Gives the twin the document as it is without scripts. */
async function showSame(page, twin) {
  const html = (await page.content()).replace(/<script[^>]*><\/script>/g, "").replace(/<(\/?)noscript>/g, "<$1div>");
  await twin.route(page.url(), (route) => route.fulfill({ contentType: "text/html", body: html }), { times: 1 });
  await twin.goto(page.url());
}

/** Rows are alike: from the eighth on, axe-core leaves them out. */
const REPEATED = "li:nth-child(n+8), tbody tr:nth-child(n+8)";

async function violations(page) {
  // Not by a script element: the page's own policy forbids scripts of others.
  if (await page.evaluate(() => !window.axe)) await page.evaluate(axe.source);
  const found = await page.evaluate((exclude) => {
    const context = document.querySelector(exclude) ? { include: document, exclude } : document;
    return window.axe.run(context, { resultTypes: ["violations"] });
  }, REPEATED);
  return found.violations.map(({ id, help, nodes }) => {
    const where = nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`);
    return `${id}: ${help}\n${where.join("\n")}`;
  });
}
