// The pages of the nodes, with real machines behind them.

import assert from "node:assert/strict";

import { logIn, newPage } from "./lib/browser.mjs";
import { Stage } from "./lib/stage.mjs";

/** As many as an operator has open. Browsers open six connections to a host at most. */
const TABS = 8;

/** After how many tasks of Ansible the server is killed. */
const MANY = 10;

/** How long a node may take where nothing else leaves it the processor, in milliseconds; alone it takes a minute. */
const NODE_LIMIT = 600_000;

/** How long all attempts at a host that does not answer may take, in milliseconds. */
const ATTEMPTS_LIMIT = 60_000;

/** The fields of the remote form by their ids, in their order, with what is typed. */
const REMOTE_FIELDS = [
  ["remote-hostname", "web-1.example.test"],
  ["remote-ssh-port", "2222"],
  ["remote-ssh-user", "deploy"],
  ["remote-name", "by keyboard"],
  ["remote-public-ip", "192.0.2.7"],
  ["remote-fingerprint", "SHA256:too short"],
];

const stage = new Stage();

/** A page with the nodes, in a session of its own. */
async function nodesPage(options) {
  const opened = await stage.newPage(options);
  await logIn(opened.page);
  await opened.page.goto("/nodes");
  return opened;
}

const row = (page, id) => page.locator(`[data-node="${id}"]`);
const rowWith = (page, id, attributes) => page.locator(`[data-node="${id}"]${attributes}`);
const button = (page, name) => page.getByRole("button", { name, exact: true });
const isLive = (page) => page.locator("[data-connection][data-state=live]").waitFor();

/** Marks the page; the mark is gone after a reload. */
const mark = (page) => page.evaluate(() => void (window.__mark = 1));
const isMarked = (page) => page.evaluate(() => window.__mark === 1);

/** The id of the element that has the focus. */
const focused = (page) => page.evaluate(() => document.activeElement.id);

/** Presses a button that creates a node and returns the id of the node that the page shows then. */
async function createNode(page, name = "Create Local Node") {
  const client = await stage.installation.client();
  const known = (await client.read("/api/nodes?include_decommissioned=true&limit=100")).items.map((node) => node.id);
  await button(page, name).click();
  const others = known.map((id) => `:not([data-node="${id}"])`).join("");
  return page.locator(`[data-node]${others}`).getAttribute("data-node");
}

/** The job that makes a node. */
async function jobOf(client, nodeId) {
  const jobs = (await client.read(`/api/jobs?node_id=${nodeId}`)).items;
  assert.equal(jobs.length, 1, JSON.stringify(jobs));
  return jobs[0].id;
}

/** Cancels a job and waits for its end, so that it takes no time from other tests. */
async function cancel(client, jobId) {
  const answer = await client.post(`/api/jobs/${jobId}/cancel`);
  assert.equal(answer.status, 202, answer.text);
  assert.equal((await client.endOfJob(jobId)).status, "cancelled");
}

/** Kills the server under a page and starts it again; the page says so and recovers by itself. */
async function dieAndComeBack(page) {
  await stage.installation.kill();
  await page.locator("[data-connection][data-state=lost]").waitFor();
  await stage.installation.start();
  await isLive(page);
}

stage.test("every page forbids what it does not need", async () => {
  const { page } = await stage.newPage();
  const policies = async (paths) => {
    for (const path of paths) {
      const policy = (await page.goto(path)).headers()["content-security-policy"];
      assert.match(policy, /default-src 'none'/, path);
      assert.match(policy, /connect-src 'self'/, path);
      assert.doesNotMatch(policy, /unsafe-|\*|https?:/, path);
    }
  };
  // A worker obeys the policy that its own script came with.
  await policies(["/login", "/assets/events-worker.js"]);
  await logIn(page);
  await policies(["/", "/nodes", "/sites", "/jobs"]);
});

stage.test("a remote form, filled in by keyboard with a wrong fingerprint, says so there and keeps what was typed", async () => {
  const { page, problems } = await nodesPage();
  await page.locator(`#${REMOTE_FIELDS[0][0]}`).focus();
  for (const [index, [id, text]] of REMOTE_FIELDS.entries()) {
    if (index > 0) await page.keyboard.press("Tab");
    assert.equal(await focused(page), id);
    await page.keyboard.press("Control+A");
    await page.keyboard.type(text);
  }
  await page.keyboard.press("Enter");

  const error = page.locator("#remote-fingerprint-error");
  assert.match(await error.innerText(), /^Expected SHA256: and 43 characters/);
  assert.equal(await focused(page), "remote-fingerprint");
  const field = page.locator("#remote-fingerprint");
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  assert.match(await field.getAttribute("aria-describedby"), /\bremote-fingerprint-error\b/);
  for (const [id, text] of REMOTE_FIELDS) assert.equal(await page.locator(`#${id}`).inputValue(), text, id);
  assert.equal(await page.locator("[aria-invalid]").count(), 1);

  const client = await stage.installation.client();
  const nodes = (await client.read("/api/nodes?include_decommissioned=true&limit=100")).items;
  assert(!nodes.some((node) => node.name === "by keyboard"), "a node was made");
  // Browsers note an answer of 400 in the console by themselves.
  assert.deepEqual(problems.filter((problem) => !/status of 400/.test(problem)), []);
});

stage.test("the line that installs the key can be copied whole, by one click", async () => {
  const { page, problems } = await nodesPage();
  const client = await stage.installation.client();
  await page.locator("#key-line").click();
  const { install_command: line } = await client.read("/api/ssh-key");
  assert.equal(await page.evaluate(() => String(getSelection())), line);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: /^Copy/ }).click();
  await button(page, "Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), line);
  assert.deepEqual(problems, []);
});

stage.test("where the browser keeps the clipboard from the page, the line is copied all the same", async () => {
  const { page, problems } = await stage.newPage();
  // As on plain http under another name than this host's own.
  await page.addInitScript(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await logIn(page);
  await page.goto("/nodes");
  const { install_command: line } = await (await stage.installation.client()).read("/api/ssh-key");
  const copied = page.evaluate(() => new Promise((done) => document.addEventListener("copy", () => done(String(getSelection())), { once: true })));
  await page.getByRole("button", { name: /^Copy/ }).click();
  assert.equal(await copied, line);
  await button(page, "Copied").waitFor();
  assert.deepEqual(problems, []);
});

stage.test("a remote host that does not answer is told without a reload, and nothing local is made", async () => {
  const { page, problems } = await nodesPage();
  await isLive(page);
  const machines = await stage.installation.machines();
  // A name that never means a host (RFC 6761).
  await page.locator("#remote-hostname").fill("no-such-host.invalid");
  await page.locator("#remote-ssh-user").fill("root");
  const node = await createNode(page, "Create Remote Node");
  await isLive(page);
  await mark(page);
  const remote = row(page, node);
  assert.match(await remote.innerText(), /no-such-host\.invalid/);
  await rowWith(page, node, "[data-status=failed]").waitFor({ timeout: ATTEMPTS_LIMIT });
  const failure = remote.locator("[data-error=REMOTE_HOST_UNREACHABLE]");
  assert.match(await failure.innerText(), /The remote host does not answer\..*Next:.*firewall/s);
  await remote.getByRole("button", { name: /^Retry/ }).waitFor();
  assert(await isMarked(page), "the page was loaded anew");

  const client = await stage.installation.client();
  const job = await client.read(`/api/jobs/${await jobOf(client, node)}`);
  assert.equal(job.error_code, "REMOTE_HOST_UNREACHABLE");
  const nodes = (await client.read("/api/nodes?limit=100")).items;
  assert.equal(nodes.filter((other) => other.id > node).length, 0, "another node was made");
  assert.deepEqual(await stage.installation.machines(), machines, "a machine was made");
  await page.goto(`/nodes/${node}`);
  await isLive(page);
  await mark(page);
  await client.deleteNode(node);
  await rowWith(page, node, "[data-status=decommissioned]").waitFor();
  assert(await isMarked(page), "the page of the node was loaded anew");
  assert.deepEqual(problems, []);
});

stage.test("without JavaScript the form makes a node, and the page shows it", async () => {
  const { page, problems } = await nodesPage({ javaScriptEnabled: false });
  const id = await createNode(page);
  assert.equal(new URL(page.url()).pathname, "/nodes");
  await rowWith(page, id, "[data-status=provisioning][data-ready=false]").waitFor();
  const client = await stage.installation.client();
  await cancel(client, await jobOf(client, id));
  await page.reload();
  await rowWith(page, id, "[data-status=failed][data-ready=false]").waitFor();
  assert.deepEqual(problems, []);
});

stage.test("eight tabs at once follow a node live and can still navigate", async () => {
  const { page: first, problems } = await nodesPage();
  const pages = [first];
  while (pages.length < TABS) {
    const { page } = await newPage(first.context(), stage.installation.url, problems);
    await page.goto("/nodes");
    pages.push(page);
  }
  const inAll = (what) => Promise.all(pages.map(what));
  await inAll(isLive);
  await inAll(mark);
  const client = await stage.installation.client();
  const { node_id: node, job_id: job } = await client.createLocalNode();
  await inAll((page) => rowWith(page, node, "[data-status=provisioning]").waitFor());
  // As an operator does, on the page of the job that runs.
  const { page: asking } = await newPage(first.context(), stage.installation.url, problems);
  await asking.goto(`/jobs/${job}`);
  await asking.locator("[data-job-status=running]").first().waitFor();
  await asking.getByRole("link", { name: "Cancel", exact: true }).click();
  await asking.getByRole("dialog").getByRole("button", { name: "Cancel the job" }).click();
  assert.equal((await client.endOfJob(job)).status, "cancelled");
  await asking.locator(".job-now [data-job-status=cancelled]").waitFor();
  await inAll((page) => rowWith(page, node, "[data-status=failed]").waitFor());
  assert.deepEqual(await inAll(isMarked), pages.map(() => true), "a tab was loaded anew");
  await inAll(async (page) => {
    await page.goto("/nodes");
    await rowWith(page, node, "[data-status=failed]").waitFor();
  });
  assert.deepEqual(problems, []);
}, NODE_LIMIT);

stage.test("a browser without shared workers follows live, too", async () => {
  const { page, problems } = await stage.newPage();
  await page.addInitScript(() => delete window.SharedWorker);
  await logIn(page);
  await isLive(page);
  assert.deepEqual(problems, []);
});

stage.test("a page whose server went away before its scripts were there follows live when it is back", async () => {
  const { page } = await stage.newPage();
  await page.addInitScript(() => delete window.SharedWorker);
  let refused = 0;
  await page.route("**/assets/events-worker.js*", (route) => {
    refused += 1;
    return refused === 1 ? route.abort("connectionrefused") : route.continue();
  });
  await logIn(page);
  await isLive(page);
  assert.equal(refused, 2);
});

stage.test("a deletion asks in a dialog, and without JavaScript on a page of its own", async () => {
  const { page, problems } = await nodesPage();
  const client = await stage.installation.client();
  const { node_id: node, job_id: job } = await client.createLocalNode();
  await cancel(client, job);
  await page.goto(`/nodes/${node}`);
  await page.getByRole("link", { name: /^Delete/ }).click();
  const dialog = page.locator("dialog[open]");
  await dialog.getByText("This destroys the machine").waitFor();
  await dialog.getByRole("link", { name: "Keep it" }).click();
  await dialog.waitFor({ state: "detached" });
  await rowWith(page, node, "[data-status=failed]").waitFor();

  const { page: plain } = await nodesPage({ javaScriptEnabled: false });
  await plain.goto(`/nodes/${node}`);
  await plain.getByRole("link", { name: /^Delete/ }).click();
  await plain.waitForURL(`/nodes/${node}?confirm=delete`);
  await button(plain, "Delete this node").click();
  await plain.waitForURL(`/nodes/${node}`);
  // The page that is open beside it hears of it.
  await rowWith(page, node, "[data-status=decommissioned]").waitFor();
  assert.deepEqual(problems, []);
});

stage.test("an operator sees a node become ready without a reload, although the server dies on the way", async () => {
  const { installation } = stage;
  const { page, problems } = await nodesPage();
  await isLive(page);
  await installation.stop();
  await installation.start({ holdAt: "provision.started" });
  await page.goto("/nodes");
  const node = await createNode(page);
  const client = await installation.client();
  const id = await jobOf(client, node);
  // The page of its job has the steps and the log.
  const { page: job } = await newPage(page.context(), installation.url, problems);
  await job.goto(`/jobs/${id}`);
  await Promise.all([mark(page), mark(job)]);
  await job.locator("[data-step=provision][data-step-status=started]").waitFor({ timeout: NODE_LIMIT });

  // Once before Ansible began, so that everything that it tells happens while the pages look for the server or later.
  await installation.forgetRuntime(node);
  await dieAndComeBack(job);
  // Once more while Ansible tells.
  const lines = job.locator('#log [data-key^="line-"]');
  await lines.nth(MANY).waitFor({ state: "attached", timeout: NODE_LIMIT });
  await dieAndComeBack(job);
  await rowWith(page, node, "[data-status=active][data-ready=true]").waitFor({ timeout: NODE_LIMIT });

  // The log has the tasks and lines; steps and states are shown elsewhere on the page.
  const told = await (await installation.client()).linesOfJob(id);
  await job.locator(`[data-key="${told.at(-1)}"]`).waitFor({ state: "attached" });
  await job.locator("[data-job-status=succeeded]").first().waitFor();
  // What a screen reader is told without being asked.
  await job.locator("[data-announce]", { hasText: /: done/ }).waitFor({ state: "attached" });
  assert.deepEqual(await lines.evaluateAll((elements) => elements.map((element) => element.dataset.key)), told);
  assert(await isMarked(page), "the list was loaded anew");
  assert(await isMarked(job), "the page of the job was loaded anew");
  // While there is no server, the browser notes that by itself.
  assert.deepEqual(problems.filter((problem) => !/net::ERR_/.test(problem)), []);
}, 2 * NODE_LIMIT);
