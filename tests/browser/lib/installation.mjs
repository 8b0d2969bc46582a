// An installation of Pressluft with a data directory and a port of its own, and its server.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, open, readFile, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Client, eventually } from "./client.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));

export const EMAIL = "operator@example.test";
export const PASSWORD = "correct horse battery";

/** Node.js's own SQLite is younger than the Node.js of Debian; Python's is there wherever Ansible is. */
const INSERT = `
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for table, row in json.load(sys.stdin):
    places = ", ".join("?" * len(row))
    database.execute(f'INSERT INTO {table} ("' + '", "'.join(row) + f'") VALUES ({places})', list(row.values()))
database.commit()
`;

export class Installation {
  #folder;
  #port;
  #server;
  #settings;
  /** Whether its database holds what was never done: it cannot be given back. */
  #isSeeded = false;

  /**
   * A fresh installation with these settings beside the usual ones; its server does not run yet. `remove` must be called
   * whatever happens then.
   */
  static async create(settings = {}) {
    const made = new Installation();
    made.#settings = settings;
    // Machines are overlay mounts: their folder may not be one itself, as a temporary folder in memory could be.
    made.#folder = await mkdtemp("/var/tmp/pl-browser-");
    made.#port = await freePort();
    return made;
  }

  /** Where the server listens: the same after every start. */
  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts the server and waits until it is ready. With `holdAt` it waits for ever at that point (see docs/testing.md). */
  async start({ holdAt } = {}) {
    assert(!this.#server, "the server runs already");
    const program = process.env.PRESSLUFT_TEST_BIN ?? join(root, "target/test-bin/pressluft");
    await access(program).catch(() => assert.fail("the server's test build is missing: see docs/testing.md"));
    const log = await open(join(this.#folder, "server.log"), "a");
    // The server ends with this process, even one that is killed. It is no shell's child: its pid is the program's own.
    const server = spawn("setpriv", ["--pdeathsig", "TERM", "--", program, "dev"], {
      cwd: this.#folder,
      env: this.#environment(holdAt),
      stdio: ["ignore", "pipe", log.fd],
    });
    const ended = once(server, "exit");
    await log.close();
    this.#server = { process: server, ended, holdAt };
    const ends = ended.then(async () => assert.fail(`the server did not start:\n${await this.log()}`));
    // Read to the end, so that the server never waits for a reader.
    const lines = createInterface({ input: server.stdout });
    const first = `Pressluft listens on ${this.url}`;
    const listens = new Promise((resolve) => lines.on("line", (line) => line === first && resolve()));
    await Promise.race([listens, ends]);
    await eventually("the server's readiness", 30_000, async () => (await this.#anonymous().get("/readyz")).status === 200);
    // From here on its end is awaited by those who ask for it.
    ends.catch(() => {});
  }

  /** Writes rows into the database of an installation that was started before and does not run: `[table, row]` each. */
  async seed(rows) {
    assert(!this.#server, "the server runs");
    this.#isSeeded = true;
    const database = join(this.#folder, "data/pressluft.sqlite");
    const program = join(root, ".venv/bin/python");
    const written = spawnSync(program, ["-c", INSERT, database], { input: JSON.stringify(rows), encoding: "utf8" });
    assert.equal(written.status, 0, written.stderr);
  }

  /** A logged-in client of its API. */
  async client() {
    const client = this.#anonymous();
    await client.login(EMAIL, PASSWORD);
    return client;
  }

  /** Kills the server, as `kill -9` does. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Stops the server by SIGTERM; it must end well. */
  async stop() {
    const [code, signal] = await this.#end("SIGTERM");
    assert.equal(code ?? signal, 0, `the server's end:\n${await this.log()}`);
  }

  /**
   * Makes a node's machine, which has not been provisioned by this installation yet, be provisioned task by task: one that was made
   * from an image has a record of what is there already.
   */
  async forgetRuntime(nodeId) {
    const machine = join(this.#folder, `data/machines/pressluft-${nodeId.slice(-12)}`);
    await access(join(machine, "merged/etc"));
    await rm(join(machine, "merged/var/lib/pressluft/runtime.json"), { force: true });
  }

  /** The folders of the machines that there are. */
  async machines() {
    return readdir(join(this.#folder, "data/machines")).catch(() => []);
  }

  /** What the server logged, in all its runs. */
  async log() {
    return readFile(join(this.#folder, "server.log"), "utf8").catch(() => "");
  }

  /** Gives every node back, stops the server and removes the data directory. A failure leaves the directory for a look. */
  async remove() {
    // A server that is held somewhere could not end its jobs.
    if (this.#server?.holdAt) await this.kill();
    if (!this.#isSeeded) {
      if (!this.#server) await this.start();
      await giveBack(await this.client());
    }
    if (this.#server) await this.stop();
    assert.deepEqual(await this.machines(), [], `machines are left in ${this.#folder}`);
    await rm(this.#folder, { recursive: true });
  }

  #anonymous() {
    return new Client(this.url);
  }

  #environment(holdAt) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PRESSLUFT_"));
    const settings = {
      NO_COLOR: "1",
      PRESSLUFT_ADMIN_EMAIL: EMAIL,
      PRESSLUFT_ADMIN_PASSWORD: PASSWORD,
      PRESSLUFT_ANSIBLE_DIR: join(root, "ansible"),
      PRESSLUFT_ANSIBLE_VENV: join(root, ".venv"),
      PRESSLUFT_ARTIFACT_SOURCE: "npm",
      PRESSLUFT_BIND: `127.0.0.1:${this.#port}`,
      PRESSLUFT_CACHE_DIR: process.env.PRESSLUFT_TEST_CACHE_DIR ?? join(root, "target/test-cache"),
      PRESSLUFT_DATA_DIR: join(this.#folder, "data"),
      PRESSLUFT_LOCAL_PROVIDER: "nspawn",
      PRESSLUFT_RETRY_DELAYS: "1s,1s",
    };
    if (holdAt) settings.PRESSLUFT_HOLD_AT = holdAt;
    return { ...Object.fromEntries(inherited), ...settings, ...this.#settings };
  }

  async #end(signal) {
    const { process: server, ended } = this.#server;
    server.kill(signal);
    const end = await ended;
    this.#server = undefined;
    return end;
  }
}

async function giveBack(client) {
  for (const status of ["queued", "running"]) {
    for (const job of (await client.read(`/api/jobs?status=${status}&limit=100`)).items) {
      // It may have ended meanwhile; then there is nothing to cancel.
      await client.post(`/api/jobs/${job.id}/cancel`);
      await client.endOfJob(job.id);
    }
  }
  for (const site of (await client.read("/api/sites?limit=100")).items) {
    await client.deleteSite(site);
  }
  for (const node of (await client.read("/api/nodes?limit=100")).items) {
    await client.deleteNode(node.id);
  }
}

/**
 * A port that nothing listens on. It lies below those that the kernel gives to clients: a browser that asks while the server is
 * down could otherwise be given the very port that it asks at, and would then hold it.
 */
async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = createServer().listen(port, "127.0.0.1");
    const isFree = await once(probe, "listening").then(() => true, () => false);
    if (!isFree) continue;
    probe.close();
    await once(probe, "close");
    return port;
  }
  return assert.fail("no free port between 20000 and 29999");
}
