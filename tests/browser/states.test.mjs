// Pages in states that are hard to reach with a real machine: rows that were written into the database, a job that is held at
// its first step, a provider that is not there. No machine is made.

import assert from "node:assert/strict";

import { logIn, newContext, newPage, sendLogin } from "./lib/browser.mjs";
import { EMAIL, Installation, PASSWORD } from "./lib/installation.mjs";
import { glance } from "./lib/look.mjs";
import { Seed } from "./lib/seed.mjs";
import { Stage } from "./lib/stage.mjs";

const HOLD = "acquire.started";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** As long as a name may be, in one piece, and harmful if it were taken for anything but text. */
const LONG = `<script>"'&\u{202E}`.padEnd(100, "W");

const seed = new Seed();
const check = (name, exit_status, output) => ({ check: name, command: `sudo -n systemctl is-active ${name}`, exit_status, output });

// More of each than a page shows.
for (let number = 1; number <= 21; number += 1) {
  const ago = (100 - number) * HOUR;
  const status = "unreachable";
  const node = seed.node(`Old node ${number}`, { ago, status, address: `10.200.1.${number}` });
  const at = seed.site(`Old site ${number}`, `old-site-${number}`, { node, ago });
  seed.job("site_create", { node, ...at }, { ago });
  seed.job("backup_create", { node, ...at }, { ago: ago - HOUR, steps: ["stage", "store", "unstage"] });
}

// A node that is ready, at which nobody listens when it is asked for more.
const ready = seed.node("Ready", { address: "127.0.0.1", port: 1, checks: [check("nginx", 0, "active")] });
const shop = seed.site("Shop", "shop", { node: ready });
const trial = seed.environment(shop.site, "Trial", "trial", { node: ready, status: "failed", source: shop.environment });
const cut = ["BACKUP_STORAGE_FAILED", "the storage did not answer within 30 s"];
const backups = [];
for (let number = 0; number < 12; number += 1) backups.push(seed.backup(shop, { ago: (12 - number) * HOUR }));
seed.backup(shop, { status: "failed", ago: 30 * MINUTE });
const lost = seed.job("backup_create", { node: ready, ...shop }, { status: "failed", error: cut, steps: ["stage", "store"], ago: 30 * MINUTE });

const unready = seed.node("Unready", {
  address: "10.200.0.2",
  reasons: [
    ["sudo_unavailable", "The login user cannot use sudo without a password. Restore its rule under /etc/sudoers.d on the machine."],
    ["runtime_missing", "Something that sites need is missing or stopped on the machine. Provision the node again."],
  ],
  checks: [check("nginx", 0, "active"), check("mariadb", 3, "inactive"), check("php8.2-fpm", null, "")],
});
const unreachable = seed.node("Unreachable", {
  address: "10.200.0.3",
  status: "unreachable",
  reasons: [["node_unreachable", "The machine does not answer SSH. Check that it runs and that its SSH port is open, then provision the node again."]],
});
const moved = seed.node("Moved", {
  address: "10.200.0.4",
  remote: "moved.example.test",
  status: "unreachable",
  reasons: [["host_key_mismatch", "The machine shows another host key than the pinned one. Find out why it changed before you pin the new one."]],
});
const long = seed.node(LONG, { address: "10.200.0.5", status: "unreachable", ago: 49 * HOUR });
const longSite = seed.site(LONG, "long", { node: long, ago: 41 * HOUR });
const longCopy = seed.environment(longSite.site, LONG, "copy", { node: long, source: longSite.environment, ago: 41 * HOUR });
const longJob = seed.job("env_create", { node: long, site: longSite.site, environment: longCopy }, { ago: 41 * HOUR });

const broken = seed.site("Broken", "broken", { node: ready, status: "failed", ago: 2 * HOUR });
const unproved = ["PREVIEW_UNREACHABLE", "the preview did not answer within 60 s"];
seed.job("site_create", { node: ready, ...broken }, { status: "failed", error: unproved, steps: ["artifacts", "create", "prove_preview"], ago: 2 * HOUR });

const stage = new Stage(async (installation) => {
  // Its first start makes the tables and the account.
  await installation.start();
  await installation.stop();
  await installation.seed(seed.rows);
  await installation.start({ holdAt: HOLD });
});

async function operator(options) {
  const opened = await stage.newPage(options);
  await logIn(opened.page);
  return opened;
}

const isLive = (page) => page.locator("[data-connection][data-state=live]").waitFor();
const button = (page, name) => page.getByRole("button", { name, exact: true });

/** Browsers note answers of these kinds in the console by themselves. */
const besides = (problems, ...statuses) => problems.filter((problem) => !statuses.some((status) => problem.includes(`status of ${status}`)));

/** Opens the dialog that a link leads to. */
async function open(page, link) {
  await link.click();
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  return dialog;
}

/** Chooses from the menu of an environment. */
function choice(page, environment, words) {
  const card = page.locator(`[data-environment="${environment}"]`);
  return card.locator("details.menu > summary").click().then(() => card.locator(".menu-items").getByText(words, { exact: true }));
}

stage.test("a wrong password looks like what it is", async () => {
  const { page } = await stage.newPage();
  await page.goto("/login");
  await sendLogin(page, EMAIL, "a wrong one");
  await page.locator("[role=alert]", { hasText: /\w/ }).waitFor();
  await glance(page, "login-wrong");
});

stage.test("nodes that are not ready say why and what to do", async () => {
  const { page, problems } = await operator();
  for (const [id, name, words] of [
    [unready, "node-unready", "sudoers.d"],
    [unreachable, "node-unreachable", "does not answer SSH"],
    [moved, "node-host-key", "Pin another host key"],
  ]) {
    await page.goto(`/nodes/${id}`);
    await page.getByText(words).first().waitFor();
    await glance(page, name);
  }
  await page.goto(`/nodes/${unready}`);
  await open(page, page.getByRole("link", { name: /^Delete/ }));
  await glance(page, "dialog-delete-node");
  await page.goto(`/nodes/${ready}?confirm=delete`);
  await page.getByText("Not yet").waitFor();
  await glance(page, "confirm-delete-node-in-use");
  assert.deepEqual(problems, []);
});

stage.test("what failed can be reset, and what can be undone for good is asked for first", async () => {
  const { page, problems } = await operator();
  await page.goto(`/sites/${broken.site}`);
  await button(page, "Reset").first().waitFor();
  await glance(page, "site-failed");
  await page.goto(`/sites/${shop.site}`);
  await isLive(page);
  await page.locator(".ask-note").waitFor();
  const reset = await choice(page, trial, "Reset");
  await reset.waitFor();
  await glance(page, "site-failed-environment");
  await open(page, page.locator(`[data-backup="${backups.at(-1)}"]`).getByRole("link", { name: /^Delete/ }));
  await glance(page, "dialog-delete-backup");
  await page.keyboard.press("Escape");
  await open(page, await choice(page, shop.environment, "Backup schedule"));
  await glance(page, "dialog-schedule");
  await page.keyboard.press("Escape");
  await open(page, page.getByRole("link", { name: "Delete site" }));
  await glance(page, "dialog-delete-site");
  // That its node cannot be asked is what the page says.
  assert.deepEqual(besides(problems, 502), []);
});

stage.test("wrong fields say so at each of them", async () => {
  const { page, problems } = await operator();
  const refused = async (name, send) => {
    await send.click();
    await page.locator(".field-error").first().waitFor();
    await glance(page, name);
  };
  await page.goto("/nodes");
  await page.locator("#name").fill("x".repeat(101));
  await refused("nodes-wrong-local", button(page, "Create Local Node"));
  await page.goto("/nodes");
  for (const id of ["hostname", "ssh-user", "public-ip", "fingerprint"]) await page.locator(`#remote-${id}`).fill("not / right");
  await page.locator("#remote-ssh-port").fill("0");
  await refused("nodes-wrong-remote", button(page, "Create Remote Node"));
  await page.goto("/sites");
  await page.locator("#site-name").fill("x".repeat(101));
  await page.locator("#site-slug").fill("Not a slug");
  await page.locator("#site-email").fill("nobody");
  await refused("sites-wrong", button(page, "Create site"));
  for (const [form, fields, send] of [
    ["environment", { "environment-name": "Copy", "environment-slug": "Not a slug" }, "Create environment"],
    ["backup", { "backup-days": "0" }, "Take a backup"],
    ["schedule", { "schedule-hours": "0", "schedule-days": "0" }, "Save schedule"],
  ]) {
    await page.goto(`/sites/${shop.site}?form=${form}&environment_id=${shop.environment}`);
    for (const [id, text] of Object.entries(fields)) await page.locator(`#${id}`).fill(text);
    await refused(`form-wrong-${form}`, button(page, send));
  }
  assert.deepEqual(besides(problems, 400, 409, 502), []);
});

stage.test("lists that go on have pages, and a failed job tells how far it came", async () => {
  const { page, problems } = await operator();
  for (const path of ["/nodes", "/sites", "/jobs"]) {
    await page.goto(path);
    await page.locator(".pager a[rel=next]").click();
    await page.waitForURL(/cursor=/);
    await glance(page, `${path.slice(1)}-older`);
  }
  await page.goto(`/sites/${shop.site}`);
  await page.locator(".pager a[rel=next]").first().click();
  await page.waitForURL(/older=/);
  await page.getByRole("link", { name: "Newest backups" }).waitFor();
  await page.goto(`/jobs/${lost}`);
  await page.locator("[data-error=BACKUP_STORAGE_FAILED]").waitFor();
  await glance(page, "job-failed-step");
  await page.goto("/");
  await page.locator("#attention").waitFor();
  await glance(page, "overview-busy");
  assert.deepEqual(besides(problems, 502), []);
});

stage.test("a job that runs is shown with its step, and how far it has come also where it says nothing", async () => {
  const { page, problems } = await operator();
  const { job_id: job } = await (await stage.installation.client()).createLocalNode();
  await page.goto(`/jobs/${job}`);
  await isLive(page);
  await page.locator("[data-step=acquire][data-step-status=started]").waitFor();
  await glance(page, "job-running");
  const axis = page.locator(".timeline .axis");
  const before = await axis.innerHTML();
  await page.waitForFunction((known) => document.querySelector(".timeline .axis").innerHTML !== known, before, { timeout: 30_000 });
  assert.deepEqual(problems, []);
});

stage.test("a list says which part of it is shown, and what to do where there is none", async () => {
  const { page, problems } = await operator();
  for (const [path, name, words] of [
    ["/nodes?q=Old&status=unreachable", "nodes-filtered", "Old node 21"],
    ["/nodes?q=zzz", "nodes-no-match", "No matching nodes"],
    ["/sites?q=shop", "sites-filtered", "Shop"],
    ["/sites?q=zzz", "sites-no-match", "No matching sites"],
    ["/jobs?kind=env_restore", "jobs-no-match", "No matching jobs"],
  ]) {
    await page.goto(path);
    await page.getByText(words).first().waitFor();
    await glance(page, name);
  }
  assert.deepEqual(besides(problems, 502), []);
});

stage.test("the row of a site has its menu, and keeps its version where it cannot be asked for", async () => {
  const { page, problems } = await operator();
  await page.goto("/sites?q=Shop");
  const row = page.locator(`[data-site="${shop.site}"]`);
  await row.locator(".ask-note", { hasText: "could not be asked for" }).waitFor();
  assert.equal(await row.locator("[data-ask]").innerText(), "7.1.1");
  await row.locator("details.menu > summary").click();
  await open(page, row.getByRole("link", { name: "New backup" }));
  await page.getByRole("dialog").getByRole("button", { name: "Take a backup" }).waitFor();
  assert.deepEqual(besides(problems, 502), []);
});

stage.test("names as long as they may be fit on a small screen", async () => {
  const { page, problems } = await operator();
  const query = encodeURIComponent(LONG.slice(0, 40));
  for (const [path, name] of [
    [`/nodes?q=${query}`, "long-nodes"],
    [`/nodes/${long}`, "long-node"],
    [`/nodes/${long}?confirm=delete`, "long-node-delete"],
    [`/sites?q=${query}`, "long-sites"],
    [`/sites/${longSite.site}`, "long-site"],
    [`/sites/${longSite.site}?confirm=delete`, "long-site-delete"],
    [`/jobs?node_id=${long}`, "long-jobs"],
    [`/jobs/${longJob}`, "long-job"],
  ]) {
    await page.goto(path);
    await page.getByText(LONG).first().waitFor({ state: "attached" });
    await glance(page, name);
  }
  assert.deepEqual(problems, []);
});

stage.test("what is sent after the session has ended is not done, says so, and is found again after the login", async () => {
  const { page } = await operator({ javaScriptEnabled: false });
  const api = await stage.installation.client();
  const newest = (await api.read("/api/nodes?limit=1")).items[0].id;
  await page.goto("/nodes");
  await page.context().clearCookies();
  await button(page, "Create Local Node").click();
  await page.waitForURL(/\/login\?next=\/nodes&unsent=1$/);
  await page.getByText("what you just sent was not done").waitFor();
  await sendLogin(page, EMAIL, PASSWORD);
  await page.waitForURL("/nodes");
  assert.equal((await api.read("/api/nodes?limit=1")).items[0].id, newest, "a node was made");
});

stage.test("a version is asked for once, also of an environment that becomes active while one looks", async () => {
  for (const status of [200, 502]) {
    const { page, problems } = await operator();
    const api = await stage.installation.client();
    let isActive = false;
    const asked = [];
    await page.route(`**/sites/${shop.site}`, async (route) => {
      const answer = await route.fetch();
      const html = await answer.text();
      await route.fulfill({ response: answer, body: isActive ? html : html.replaceAll("data-ask=", "data-later=") });
    });
    await page.route("**/wordpress-version", (route) => {
      asked.push(route.request().url());
      return route.fulfill({ status, json: status === 200 ? { wordpress_version: "9.9.9" } : { message: "It sleeps." } });
    });
    await page.goto(`/sites/${shop.site}`);
    await isLive(page);
    assert.deepEqual(asked, []);
    isActive = true;
    /** The page comes anew. */
    const anew = async () => {
      const came = page.waitForResponse((answer) => answer.url().endsWith(`/sites/${shop.site}`));
      await api.createLocalNode();
      await came;
    };
    await anew();
    await page.locator("main", { hasText: status === 200 ? "9.9.9" : "could not be asked for: It sleeps." }).waitFor();
    await anew();
    await anew();
    assert.equal(asked.length, 1, `${status}: ${asked}`);
    assert.equal(await page.locator(".ask-note").count(), status === 200 ? 0 : 1);
    assert.deepEqual(besides(problems, 502), []);
  }
});

stage.test("a dialog stays where its edge is pressed, and what was typed stays where the session ends", async () => {
  const { page } = await operator();
  await page.goto(`/nodes/${unready}`);
  await isLive(page);
  const dialog = await open(page, page.getByRole("link", { name: /^Delete/ }));
  const { x, y } = await dialog.boundingBox();
  await page.mouse.click(x + 6, y + 6);
  assert(await dialog.isVisible(), "its edge closes it");
  await page.mouse.click(x - 10, y + 6);
  await dialog.waitFor({ state: "hidden" });

  await page.goto("/nodes?q=Unready");
  await isLive(page);
  const heights = () => page.locator(".top nav a").evaluateAll((links) => links.map((link) => link.offsetHeight));
  const before = await heights();
  await page.locator("#remote-hostname").fill("half.example.test");
  const other = await page.context().newPage();
  await other.goto("/jobs");
  await other.getByRole("button", { name: "Log out" }).click();
  await other.waitForURL(/\/login/);
  // The server looks whether the session of a quiet stream still stands every 15 s.
  await page.locator("[data-connection][data-state=ended]").waitFor({ timeout: 40_000 });
  assert.deepEqual(await heights(), before, "what is said beside the menu breaks its words");
  await glance(page, "nodes-session-ended");
  await sendLogin(other, EMAIL, PASSWORD);
  await other.waitForURL("/");
  await page.bringToFront();
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await isLive(page);
  assert.equal(await page.locator("#remote-hostname").inputValue(), "half.example.test");
  await (await stage.installation.client()).createLocalNode("Unready while typing");
  await page.locator("[data-nodes]", { hasText: "Unready while typing" }).waitFor();
  assert.equal(await page.locator("#remote-hostname").inputValue(), "half.example.test");
}, 2 * MINUTE);

stage.test("a dialog that comes late does not take the place of the one that somebody writes into", async () => {
  const { page, problems } = await operator();
  let release;
  const late = new Promise((done) => (release = done));
  await page.route("**/sites/*?confirm=delete", (route) => late.then(() => route.continue()));
  await page.goto(`/sites/${shop.site}`);
  await isLive(page);
  const came = page.waitForResponse(/confirm=delete/);
  await page.getByRole("link", { name: "Delete site" }).click();
  const dialog = await open(page, await choice(page, shop.environment, "New backup"));
  await page.locator("#backup-days").fill("7");
  release();
  await (await came).finished();
  // What its answer would do is done by then.
  await page.evaluate(() => new Promise((done) => setTimeout(done, 200)));
  await dialog.getByRole("button", { name: "Take a backup" }).waitFor();
  assert.equal(await page.locator("#backup-days").inputValue(), "7");
  assert.deepEqual(besides(problems, 502), []);
});

stage.test("the browser's button leaves a dialog with its page, and sends no form again", async () => {
  const { page, problems } = await operator();
  const api = await stage.installation.client();
  await page.goto("/nodes");
  await page.goto(`/nodes/${unready}`);
  await isLive(page);
  const dialog = await open(page, page.getByRole("link", { name: /^Delete/ }));
  // Browsers that keep a page as it was left say so when it is shown again; this one does not keep pages.
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await dialog.waitFor({ state: "hidden" });
  await open(page, page.getByRole("link", { name: /^Delete/ }));
  await page.goBack();
  await page.waitForURL("/nodes");
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.goForward();
  await page.waitForURL(`/nodes/${unready}`);
  assert.equal(await page.getByRole("dialog").count(), 0, "the dialog is still open");

  const posts = [];
  page.on("request", (request) => request.method() === "POST" && posts.push(request.url()));
  await page.goto("/nodes");
  const newest = (await api.read("/api/nodes?limit=1")).items[0].id;
  await page.locator("#name").fill("Once");
  await button(page, "Create Local Node").dblclick();
  await page.locator("[data-nodes]", { hasText: "Once" }).waitFor();
  await page.goto("/jobs");
  for (const move of ["goBack", "goBack", "goForward", "goForward"]) {
    await page[move]();
    await page.locator("h1").waitFor();
  }
  assert.equal(posts.length, 1, posts.join("\n"));
  const made = (await api.read("/api/nodes?limit=100")).items.filter((node) => node.id > newest);
  assert.deepEqual(made.map((node) => node.name), ["Once"]);
  assert.deepEqual(problems, []);
});

stage.test("pages without JavaScript look as well kept", async () => {
  const { page, problems } = await operator({ javaScriptEnabled: false });
  const { page: twin } = await operator();
  const [job] = (await (await stage.installation.client()).read("/api/jobs?status=running&limit=1")).items;
  for (const [path, name] of [
    ["/", "overview"],
    ["/nodes", "nodes"],
    [`/sites/${shop.site}`, "site"],
    [`/sites/${shop.site}?form=environment&environment_id=${shop.environment}`, "form-environment"],
    [`/jobs/${job.id}?confirm=cancel`, "confirm-cancel"],
  ]) {
    await page.goto(path);
    await page.locator(".without-script").waitFor();
    await glance(page, `no-script-${name}`, { twin });
  }
  assert.deepEqual(problems, []);
});

stage.test("where a provider is missing, the button says why, is reached by keyboard, and makes nothing", async () => {
  const settings = { PRESSLUFT_LOCAL_PROVIDER: "multipass", PRESSLUFT_MULTIPASS_PROGRAM: "/nowhere/multipass" };
  const installation = await Installation.create(settings);
  try {
    await installation.start();
    const { url } = installation;
    const { page, problems } = await newPage(await newContext(stage.browser, url), url);
    await logIn(page);
    await page.goto("/nodes");
    await page.locator("#local-obstacle").waitFor();
    await isLive(page);
    await glance(page, "nodes-obstacle");
    const create = button(page, "Create Local Node");
    await create.focus();
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Create Local Node");
    assert.equal(await create.getAttribute("aria-describedby"), "local-obstacle");
    const posts = [];
    page.on("request", (request) => request.method() === "POST" && posts.push(request.url()));
    await page.keyboard.press("Enter");
    await create.click({ force: true });
    await page.goto("/nodes");
    assert.deepEqual(posts, []);
    assert.deepEqual(problems, []);

    const { page: plain } = await newPage(await newContext(stage.browser, url, { javaScriptEnabled: false }), url);
    await logIn(plain);
    await plain.goto("/nodes");
    await button(plain, "Create Local Node").click({ force: true });
    await plain.getByRole("alert").filter({ hasText: "Not possible on this host now." }).waitFor();
    await glance(plain, "no-script-nodes-refused", { twin: page });
    assert.deepEqual((await (await installation.client()).read("/api/nodes")).items, []);
  } finally {
    await installation.remove();
  }
});

stage.test("a page whose server went away says so", async () => {
  const { page } = await operator();
  await page.goto("/jobs");
  await isLive(page);
  await stage.installation.kill();
  await page.getByText("Connection lost, trying again").waitFor();
  await glance(page, "connection-lost");
  await stage.installation.start({ holdAt: HOLD });
  await isLive(page);
});
