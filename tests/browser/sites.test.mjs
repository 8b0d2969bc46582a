// Sites, jobs and the overview, with a real node behind them: each test goes on where the one before left off.

import assert from "node:assert/strict";

import { launch, logIn, newContext, newPage, sendLogin } from "./lib/browser.mjs";
import { eventually } from "./lib/client.mjs";
import { EMAIL, Installation, PASSWORD } from "./lib/installation.mjs";
import { look } from "./lib/look.mjs";
import { Stage } from "./lib/stage.mjs";

/** How long a node may take, and a job of a site, where nothing else leaves them the processor, in milliseconds. */
const NODE_LIMIT = 600_000;
const JOB_LIMIT = 180_000;

/** A name that would do harm if it were taken for anything but text. */
const HOSTILE = `<script>alert(1)</script>"'&\u{202E}gnp`;

const stage = new Stage();

/** What the tests have made so far. */
const made = {};

async function operator(options) {
  const opened = await stage.newPage(options);
  await logIn(opened.page);
  return opened;
}

const client = () => stage.installation.client();
const isLive = (page) => page.locator("[data-connection][data-state=live]").waitFor();
const mark = (page) => page.evaluate(() => void (window.__mark = 1));
const isMarked = (page) => page.evaluate(() => window.__mark === 1);
const environment = (page, id) => page.locator(`[data-environment="${id}"]`);
const sitePage = () => `/sites/${made.site}`;

/** Opens the menu of an environment and chooses from it. */
async function choose(page, id, words) {
  const card = environment(page, id);
  await card.locator("details.menu > summary").click();
  await card.locator(".menu-items").getByText(words, { exact: true }).click();
}

/** The newest job of the site. */
async function newestJob(api) {
  return (await api.read(`/api/jobs?site_id=${made.site}&limit=1`)).items[0];
}

const shownLines = (page) => page.locator("#log > li").evaluateAll((items) => items.map((item) => item.dataset.key));

/** Waits for the newest job of the site to be another than before and to succeed. */
async function succeeded(api, before) {
  const job = await eventually("the job", 15_000, async () => {
    const newest = await newestJob(api);
    return newest && newest.id !== before && newest;
  });
  const ended = await api.endOfJob(job.id);
  assert.equal(ended.status, "succeeded", JSON.stringify(ended));
  return ended;
}

stage.test("a fresh installation says what comes first, on every page", async () => {
  const { page, problems } = await stage.newPage();
  await page.goto("/login");
  await look(page, "login");
  await logIn(page);
  await page.getByRole("heading", { name: "First steps" }).waitFor();
  await look(page, "overview-empty");
  for (const [path, words] of [["/nodes", "No nodes yet"], ["/sites", "No sites yet"], ["/jobs", "No jobs yet"]]) {
    await page.goto(path);
    await page.getByText(words).waitFor();
    await look(page, `${path.slice(1)}-empty`);
  }
  const paths = ["/environments", "/backups", "/sites/", "/sites/x/y", "/nodes/none", "/jobs/none", "/sites/none"];
  for (const path of paths) assert.equal((await page.goto(path)).status(), 404, path);
  await look(page, "not-found");
  assert.deepEqual(problems.filter((problem) => !/status of 404/.test(problem)), []);
});

stage.test("a local node is asked for and becomes ready while its page is open", async () => {
  const { page, problems } = await operator();
  await page.goto("/nodes");
  await page.locator("#name").fill(HOSTILE);
  await page.getByRole("button", { name: "Create Local Node", exact: true }).click();
  const link = page.locator("[data-nodes] h3 a").first();
  assert.equal((await link.innerText()).trim(), HOSTILE);
  await look(page, "nodes-provisioning");
  await link.click();
  await isLive(page);
  await mark(page);
  await look(page, "node-provisioning");
  await page.waitForFunction(() => document.querySelector("progress")?.value >= 3, undefined, { timeout: NODE_LIMIT });
  await page.locator(".page-head .pill[data-tone=active]").waitFor({ timeout: NODE_LIMIT });
  await page.getByText("Ready for sites").first().waitFor();
  assert(await isMarked(page), "the page was loaded anew");
  made.node = new URL(page.url()).pathname.split("/")[2];
  await look(page, "node-ready");
  await page.goto("/nodes");
  await look(page, "nodes-ready");
  await page.goto("/");
  await page.getByText("done").first().waitFor();
  await look(page, "overview-node-only");
  assert.deepEqual(problems, []);
}, NODE_LIMIT + 120_000);

stage.test("a site is asked for, is followed without a reload, and its preview is a WordPress", async () => {
  const { page, problems } = await operator();
  await page.goto("/sites");
  await page.locator("#site-name").pressSequentially("Café Zürich & Co.");
  assert.equal(await page.locator("#site-slug").inputValue(), "cafe-zurich-co");
  await page.locator("#site-name").fill(HOSTILE);
  await page.locator("#site-slug").fill("shop");
  await page.getByRole("button", { name: "Create site" }).click();
  await page.waitForURL(/\/sites\/[0-9a-f-]+$/);
  made.site = new URL(page.url()).pathname.split("/")[2];
  assert.equal((await page.locator("h1").innerText()).trim(), HOSTILE);
  await isLive(page);
  await mark(page);
  await look(page, "site-creating");
  await page.locator(".site-title .pill[data-tone=active]").waitFor({ timeout: JOB_LIMIT });
  assert(await isMarked(page), "the page was loaded anew");
  const card = page.locator("[data-environment]").first();
  made.production = await card.getAttribute("data-environment");
  // Asked for when it became active.
  await card.locator('[id^="version-"]', { hasText: /^\d+\.\d+/ }).waitFor();
  await look(page, "site-active");
  await choose(page, made.production, "Show WordPress login");
  await page.locator("#login-password").waitFor();
  await look(page, "site-login");
  await page.goto(sitePage());

  const api = await client();
  const { public_ip: address } = await api.read(`/api/nodes/${made.node}`);
  const browser = await launch([`--host-resolver-rules=MAP *.sslip.io ${address}`]);
  try {
    const preview = await browser.newPage();
    const answer = await preview.goto(await card.locator("a.preview").getAttribute("href"));
    assert.equal(answer.status(), 200);
    assert.match(await preview.locator("meta[name=generator]").getAttribute("content"), /WordPress/);
  } finally {
    await browser.close();
  }
  assert.deepEqual(problems, []);
}, JOB_LIMIT + 120_000);

stage.test("a copy, a backup and a restore are asked for in dialogs and done", async () => {
  const { page, problems } = await operator();
  const api = await client();
  await page.goto(sitePage());
  await isLive(page);
  let before = (await newestJob(api)).id;

  await choose(page, made.production, "New environment from it");
  const dialog = page.getByRole("dialog");
  await dialog.locator("#environment-name").pressSequentially("Try out");
  assert.equal(await dialog.locator("#environment-slug").inputValue(), "try-out");
  await look(page, "dialog-environment");
  await dialog.getByRole("button", { name: "Create environment" }).click();
  await dialog.waitFor({ state: "hidden" });
  made.copy = (await succeeded(api, before)).environment_id;
  await environment(page, made.copy).locator(".pill[data-tone=active]").first().waitFor();

  before = (await newestJob(api)).id;
  await choose(page, made.production, "New backup");
  await dialog.locator("#backup-scope:focus").waitFor();
  await look(page, "dialog-backup");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  // A dialog tells of its closing a moment after it is gone.
  await page.waitForFunction(() => document.activeElement.textContent.startsWith("Actions"));
  await choose(page, made.production, "New backup");
  await dialog.getByRole("button", { name: "Take a backup" }).click();
  await succeeded(api, before);
  const backup = environment(page, made.production).locator("[data-backup][data-status=completed]");
  await backup.waitFor();
  await look(page, "site-with-backup");

  before = (await newestJob(api)).id;
  await backup.getByRole("link", { name: /^Restore/ }).click();
  assert.match(await dialog.innerText(), /checkpoint backup is taken first/);
  await look(page, "dialog-restore");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  assert.equal((await newestJob(api)).id, before, "a restore was asked for");
  await backup.getByRole("link", { name: /^Restore/ }).click();
  await dialog.getByRole("button", { name: "Restore this backup" }).click();
  assert.equal((await succeeded(api, before)).job_type, "env_restore");
  await page.locator(".site-title .pill[data-tone=active]").waitFor();
  // The checkpoint is a backup like any other.
  await environment(page, made.production).locator("[data-backup][data-status=completed]").nth(1).waitFor();
  await page.goto("/sites");
  await look(page, "sites");
  await page.goto("/");
  await page.locator("#last-day svg").waitFor();
  await look(page, "overview");
  assert.deepEqual(problems, []);
}, 3 * JOB_LIMIT);

stage.test("a job is followed on its page, and one that waits is cancelled", async () => {
  const { page, problems } = await operator();
  const api = await client();
  const path = `/api/environments/${made.production}/backups`;
  const ask = async () => JSON.parse((await api.post(path, { backup_scope: "db" })).text).job_id;
  const [first, second] = [await ask(), await ask()];
  await page.goto(`/jobs/${second}`);
  await isLive(page);
  await page.getByRole("link", { name: "Cancel", exact: true }).click();
  await look(page, "dialog-cancel");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the job" }).click();
  await page.locator(".job-now .pill[data-tone=cancelled]").waitFor();
  await look(page, "job-cancelled");
  assert.equal((await api.endOfJob(second)).status, "cancelled");
  assert.equal((await api.endOfJob(first)).status, "succeeded");

  await page.goto(`/jobs/${first}`);
  await look(page, "job-succeeded");
  assert.deepEqual(await shownLines(page), await api.linesOfJob(first));
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy the lines of the log" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const copied = (await page.evaluate(() => navigator.clipboard.readText())).split("\n");
  assert.equal(copied.length, (await shownLines(page)).length);
  for (const line of copied) assert.match(line, /^\d\d:\d\d:\d\d \S/);
  await page.locator("#log-q").fill("zzz not there");
  await page.getByRole("button", { name: "Find" }).click();
  assert.match(await page.locator("#log-says").innerText(), /^0 of \d+ lines contain/);
  const text = await page.request.get(`/jobs/${first}?as=text`);
  assert.match(text.headers()["content-type"], /^text\/plain/);
  assert.match(await text.text(), /^Job: +Backup /);

  await page.goto("/jobs");
  await page.locator("#filter-status").selectOption("cancelled");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.waitForURL(/status=cancelled/);
  assert.equal(await page.locator(".job-list > li").count(), 1);
  await look(page, "jobs-filtered");
  await page.goBack();
  await page.locator(".job-list > li").nth(2).waitFor();
  assert.equal(await page.locator("#filter-status").inputValue(), "", "the form says what the list shows");
  await look(page, "jobs");
  assert.deepEqual(problems, []);
}, 2 * JOB_LIMIT);

stage.test("a server that is killed under the page of a job is told of, and no line is missed", async () => {
  const { page } = await operator();
  const api = await client();
  const job = JSON.parse((await api.post(`/api/environments/${made.production}/backups`, { backup_scope: "full" })).text).job_id;
  await page.goto(`/jobs/${job}`);
  await isLive(page);
  await page.locator("#log > li").first().waitFor();
  await mark(page);
  await stage.installation.kill();
  await page.locator("[data-connection][data-state=lost]").waitFor();
  await page.getByText("Connection lost, trying again").waitFor();
  await stage.installation.start();
  await isLive(page);
  await page.locator(".job-now .pill[data-tone=succeeded]").waitFor({ timeout: JOB_LIMIT });
  assert(await isMarked(page), "the page was loaded anew");
  const lines = await (await client()).linesOfJob(job);
  await page.locator(`#log > li[data-key="${lines.at(-1)}"]`).waitFor();
  assert.deepEqual(await shownLines(page), lines);
}, 2 * JOB_LIMIT);

stage.test("two tabs tell the same, and a session that ends leads back to where one was", async () => {
  const { page, problems } = await operator();
  await page.goto(sitePage());
  const other = await page.context().newPage();
  await other.goto(sitePage());
  // Long work shows its progress on every page, without a reload.
  const lists = [];
  for (const path of ["/", "/sites", "/jobs"]) {
    const list = await page.context().newPage();
    await list.goto(path);
    lists.push(list);
  }
  await Promise.all([page, other, ...lists].map(isLive));
  await Promise.all(lists.map(mark));
  const api = await client();
  const before = await environment(page, made.copy).locator("[data-backup]").count();
  await Promise.all([
    api.done(`/api/environments/${made.copy}/backups`, { backup_scope: "db" }),
    ...lists.map((list) => list.locator("[data-job-status=running]").first().waitFor()),
  ]);
  for (const tab of [page, other]) await environment(tab, made.copy).locator("[data-backup][data-status=completed]").nth(before).waitFor();
  for (const list of lists) {
    await list.locator("[data-job-status=running]").first().waitFor({ state: "detached" });
    assert(await isMarked(list), "a list was loaded anew");
    await list.close();
  }

  await other.getByRole("button", { name: "Log out" }).click();
  // The server looks whether the session of a quiet stream still stands every 15 s.
  await page.waitForURL(/\/login\?next=/, { timeout: 40_000 });
  await sendLogin(page, EMAIL, PASSWORD);
  await page.waitForURL(sitePage());
  assert.deepEqual(problems.filter((problem) => !/status of 401/.test(problem)), []);
}, JOB_LIMIT);

stage.test("without JavaScript a site is made, copied, backed up, restored, and deleted, and a job is cancelled", async () => {
  const { page } = await operator({ javaScriptEnabled: false });
  const api = await client();
  /** Loads the page until it shows something: nothing else happens there. */
  const shows = (path, selector) =>
    eventually(`${selector} on ${path}`, JOB_LIMIT, async () => {
      await page.goto(path);
      return (await page.locator(selector).count()) > 0;
    });
  await page.goto("/sites");
  await page.locator("#site-name").fill("No script");
  await page.getByRole("button", { name: "Create site" }).click();
  await page.waitForURL(/\/sites\/[0-9a-f-]+$/);
  const path = new URL(page.url()).pathname;
  await shows(path, ".site-title .pill[data-tone=active]");

  const id = await page.locator("[data-environment]").first().getAttribute("data-environment");
  await choose(page, id, "New backup");
  await page.waitForURL(/form=backup/);
  await page.getByRole("button", { name: "Take a backup" }).click();
  await shows(path, "[data-backup][data-status=completed]");
  await page.getByRole("link", { name: /^Restore/ }).click();
  await page.waitForURL(/confirm=restore/);
  await page.getByRole("button", { name: "Restore this backup" }).click();
  await shows(path, ".site-title .pill[data-tone=active]");

  // The newest is the restore's checkpoint.
  const checkpoint = await page.locator("[data-backup]").first().getAttribute("data-backup");
  await page.locator(`[data-backup="${checkpoint}"]`).getByRole("link", { name: /^Delete/ }).click();
  await page.waitForURL(/confirm=delete-backup/);
  await page.locator("[data-asks] button.danger").click();
  // It stays in the list until what is stored of it is removed.
  await shows(path, `[data-backup="${checkpoint}"][data-status=expired]`);

  await choose(page, id, "New environment from it");
  await page.waitForURL(/form=environment/);
  await page.locator("#environment-name").fill("A copy");
  await page.getByRole("button", { name: "Create environment" }).click();
  await shows(path, '[data-environment][data-status=active] >> nth=1');
  const copy = await page.locator(`[data-environment]:not([data-environment="${id}"])`).getAttribute("data-environment");
  await choose(page, copy, "Delete");
  await page.waitForURL(/confirm=delete-environment/);
  await page.locator("#delete-confirm").fill("a-copy");
  await page.getByRole("button", { name: "Delete environment" }).click();
  await eventually("the end of the copy", JOB_LIMIT, async () => {
    await page.goto(path);
    return (await environment(page, copy).count()) === 0;
  });

  const ask = async () => JSON.parse((await api.post(`/api/environments/${id}/backups`, { backup_scope: "db" })).text).job_id;
  const [first, second] = [await ask(), await ask()];
  await page.goto(`/jobs/${second}`);
  await page.getByRole("link", { name: "Cancel", exact: true }).click();
  await page.getByRole("button", { name: "Cancel the job" }).click();
  assert.equal((await api.endOfJob(second)).status, "cancelled");
  await api.endOfJob(first);

  await page.goto(path);
  await page.getByRole("link", { name: "Delete site" }).click();
  await page.locator("#delete-confirm").fill("wrong");
  await page.getByRole("button", { name: "Delete site" }).click();
  assert.match(await page.getByRole("alert").innerText(), /type no-script to confirm/);
  await page.locator("#delete-confirm").fill("no-script");
  await page.getByRole("button", { name: "Delete site" }).click();
  await eventually("the end of the site", JOB_LIMIT, async () => (await page.goto(path)).status() === 404);
}, 4 * JOB_LIMIT);

stage.test("what failed says so wherever one looks, and what to do", async () => {
  const { page } = await operator();
  await page.goto("/nodes");
  // A name that never means a host (RFC 6761).
  await page.locator("#remote-hostname").fill("no-such-host.invalid");
  await page.locator("#remote-ssh-user").fill("root");
  await page.getByRole("button", { name: "Create Remote Node", exact: true }).click();
  await page.locator("[data-nodes] .pill[data-tone=failed]").waitFor({ timeout: 60_000 });
  await page.locator("[data-error=REMOTE_HOST_UNREACHABLE]").first().waitFor();
  await look(page, "nodes-failed");
  await page.locator("[data-nodes] h3 a").first().click();
  await page.getByText("Next:").first().waitFor();
  await look(page, "node-failed");
  await page.goto("/jobs?status=failed");
  await page.locator(".job-list a").first().click();
  await look(page, "job-failed");
  await page.goto("/");
  await page.locator("#attention").waitFor();
  await look(page, "overview-attention");
}, 120_000);

stage.test("a remote host that lacks the key is waited for with the line to run, and then says that it was rejected", async () => {
  const { public_ip: address } = await (await client()).read(`/api/nodes/${made.node}`);
  // To another installation the node of this one is a host like any other.
  const other = await Installation.create({ PRESSLUFT_REMOTE_KEY_WAIT: "8s" });
  try {
    await other.start();
    const { page } = await newPage(await newContext(stage.browser, other.url), other.url);
    await logIn(page);
    await page.goto("/nodes");
    await page.locator("#remote-hostname").fill(address);
    await page.locator("#remote-ssh-user").fill("pressluft");
    await page.getByRole("button", { name: "Create Remote Node", exact: true }).click();
    await isLive(page);
    await mark(page);
    const row = page.locator("[data-nodes] > li");
    const { install_command: line } = await (await other.client()).read("/api/ssh-key");
    await row.locator(".command", { hasText: line }).first().waitFor();
    await look(page, "nodes-waiting-for-key");
    await row.locator("[data-error=SSH_AUTH_REJECTED]").waitFor({ timeout: 60_000 });
    await row.locator(".command", { hasText: line }).first().waitFor();
    assert(await isMarked(page), "the page was loaded anew");
    await look(page, "nodes-key-rejected");

    // The same without JavaScript: the node goes, another is asked for at its address, and its job's page says how that went.
    const plain = await (await newContext(stage.browser, other.url, { javaScriptEnabled: false })).newPage();
    await logIn(plain);
    await plain.goto("/nodes");
    await plain.locator("[data-nodes] h3 a").click();
    await plain.getByRole("link", { name: /^Delete/ }).click();
    await plain.waitForURL(/confirm=delete/);
    await plain.getByRole("button", { name: "Delete this node" }).click();
    // Until the answer is there: a page that is loaded again before it is asked for in its place.
    await plain.waitForURL(/\/nodes\/[0-9a-f-]+$/);
    const reloaded = (what, selector) =>
      eventually(what, 60_000, async () => {
        await plain.reload();
        return (await plain.locator(selector).count()) > 0;
      });
    await reloaded("the end of the node", "[data-node][data-status=decommissioned]");
    await plain.goto("/nodes");
    await plain.locator("#remote-hostname").fill(address);
    await plain.locator("#remote-ssh-user").fill("pressluft");
    await plain.getByRole("button", { name: "Create Remote Node", exact: true }).click();
    await plain.locator("[data-nodes] > li").waitFor();
    await reloaded("the line to run", "[data-nodes] > li .command");
    await plain.locator("[data-nodes] > li .job-line a").first().click();
    await plain.waitForURL(/\/jobs\/[0-9a-f-]+$/);
    await reloaded("the failure", "[data-error=SSH_AUTH_REJECTED]");
  } finally {
    await other.remove();
  }
}, 180_000);

stage.test("a site and an environment are deleted by typing their slugs", async () => {
  const { page, problems } = await operator();
  await page.goto(sitePage());
  await isLive(page);
  await choose(page, made.copy, "Delete");
  const dialog = page.getByRole("dialog");
  await look(page, "dialog-delete-environment");
  await dialog.locator("#delete-confirm").fill("try-out");
  await dialog.getByRole("button", { name: "Delete environment" }).click();
  await environment(page, made.copy).waitFor({ state: "detached", timeout: JOB_LIMIT });
  await page.getByRole("link", { name: "Delete site" }).click();
  await dialog.locator("#delete-confirm").fill("shop");
  await dialog.getByRole("button", { name: "Delete site" }).click();
  // The site's own page goes with it: what is done for it is followed on its job's.
  await page.waitForURL(/\/jobs\/[0-9a-f-]+$/);
  await page.locator(".job-now .pill[data-tone=succeeded]").waitFor({ timeout: JOB_LIMIT });
  assert.equal((await page.goto(sitePage())).status(), 404);
  assert.deepEqual(problems.filter((problem) => !/status of 404/.test(problem)), []);
}, 2 * JOB_LIMIT);
