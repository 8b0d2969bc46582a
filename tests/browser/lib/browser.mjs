// Debian's Chromium without a window, driven by playwright-core, and pages that are watched.

import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

import { EMAIL, PASSWORD } from "./installation.mjs";

/** How long a page may take to show what needs no machine, in milliseconds. */
const PATIENCE = 15_000;

/** Starts a browser; `close` it whatever happens then. */
export function launch(args = []) {
  return chromium.launch({ executablePath: onPath("chromium"), chromiumSandbox: process.getuid() !== 0, args });
}

/** A session of its own, with no cookies yet. */
export async function newContext(browser, url, options = {}) {
  const context = await browser.newContext({ baseURL: url, ...options });
  context.setDefaultTimeout(PATIENCE);
  return context;
}

/** A new page and, added as they happen, the `problems` that no page may have: foreign requests, errors of scripts. */
export async function newPage(context, url, problems = []) {
  const page = await context.newPage();
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== url) problems.push(`a request to another origin: ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => problems.push(`uncaught: ${error}\n${error.stack}`));
  return { page, problems };
}

/** Fills in the login form of the page and sends it. */
export async function sendLogin(page, email, password) {
  await page.locator("input[name=email]").fill(email);
  await page.locator("input[name=password]").fill(password);
  await page.locator("form:has(input[name=password]) button").click();
}

/** Logs in, which must lead to the overview. */
export async function logIn(page) {
  await page.goto("/login");
  await sendLogin(page, EMAIL, PASSWORD);
  await page.waitForURL("/");
}

function onPath(program) {
  const folders = process.env.PATH.split(delimiter);
  const found = folders.map((folder) => join(folder, program)).find(isExecutable);
  assert(found, `${program} is missing: run scripts/setup --dev`);
  return found;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
