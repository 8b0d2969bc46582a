// What every file of tests has: an installation whose server runs, a browser, and tests that, when they fail, say enough to be
// understood from a log of CI.

import { after, before, test } from "node:test";

import { launch, newContext, newPage } from "./browser.mjs";
import { Installation } from "./installation.mjs";

/** The last lines of a server's log that are shown. */
const LOG_LINES = 60;

/** How long the hooks, and a test that says nothing else, may take, in milliseconds. */
const HOOK_LIMIT = 600_000;
const TEST_LIMIT = 90_000;

/** How long a failed page has to say what it shows, in milliseconds. */
const PATIENCE = 5_000;

export class Stage {
  browser;
  installation;
  #begin;

  /** `begin` makes the installation's server run, in another way than simply to start it. */
  constructor(begin = (installation) => installation.start()) {
    this.#begin = begin;
    const limit = { timeout: HOOK_LIMIT };
    before(() => this.#open(), limit);
    after(() => this.#close(), limit);
  }

  /** A test. The pages that it opened are closed at its end. */
  test(name, body, timeout = TEST_LIMIT) {
    test(name, { timeout }, async (context) => {
      try {
        await body();
      } catch (error) {
        await this.#explain(context);
        throw error;
      } finally {
        // What a route is answering is of no interest any more.
        const pages = this.browser.contexts().flatMap((opened) => opened.pages());
        await Promise.all(pages.map((page) => page.unrouteAll({ behavior: "ignoreErrors" })));
        await Promise.all(this.browser.contexts().map((opened) => opened.close()));
      }
    });
  }

  /** A page of a browser that was never here: `{page, problems}`. */
  async newPage(options) {
    const { url } = this.installation;
    return newPage(await newContext(this.browser, url, options), url);
  }

  async #open() {
    this.installation = await Installation.create();
    await this.#begin(this.installation);
    this.browser = await launch();
  }

  async #close() {
    await this.browser?.close();
    await this.installation?.remove();
  }

  async #explain(context) {
    for (const page of this.browser.contexts().flatMap((opened) => opened.pages())) {
      const shown = await page.locator("body").innerText({ timeout: PATIENCE }).catch(String);
      context.diagnostic(`${page.url()} shows:\n${shown}`);
    }
    const log = (await this.installation.log()).trimEnd().split("\n");
    context.diagnostic(`the server's last lines:\n${log.slice(-LOG_LINES).join("\n")}`);
  }
}
