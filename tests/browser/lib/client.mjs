// A client of the HTTP API, as a program would be: what the pages show is compared with what it is told.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";

/** Looks until the result is truthy, and returns it; fails after `limit` milliseconds. For what gives no event. */
export async function eventually(what, limit, look) {
  const end = Date.now() + limit;
  for (;;) {
    const result = await look();
    if (result) return result;
    assert(Date.now() < end, `not within ${limit} ms: ${what}`);
    await pause(50);
  }
}

export class Client {
  #url;
  #cookie;

  constructor(url) {
    this.#url = url;
  }

  async login(email, password) {
    const answer = await this.post("/api/login", { email, password });
    assert.equal(answer.status, 200, "login");
    this.#cookie = answer.headers["set-cookie"][0].split(";")[0];
  }

  get(path) {
    return this.#send("GET", path);
  }

  post(path, body) {
    return this.#send("POST", path, body);
  }

  /** Reads what must be there. */
  async read(path) {
    const answer = await this.get(path);
    assert.equal(answer.status, 200, `GET ${path}: ${answer.text}`);
    return JSON.parse(answer.text);
  }

  /** Asks for a local node: `{node_id, job_id}`. */
  async createLocalNode(name) {
    const answer = await this.post("/api/nodes", { acquisition_source: "local", name });
    assert.equal(answer.status, 202, answer.text);
    return JSON.parse(answer.text);
  }

  /** Gives a node back and waits until it is gone. */
  async deleteNode(id) {
    const answer = await this.#send("DELETE", `/api/nodes/${id}`);
    assert.equal(answer.status, 202, answer.text);
    const job = await this.endOfJob(JSON.parse(answer.text).job_id);
    assert.equal(job.status, "succeeded", JSON.stringify(job));
  }

  /** Deletes a site and waits until it is gone. */
  async deleteSite({ id, slug }) {
    const answer = await this.#send("DELETE", `/api/sites/${id}`, { confirm: slug });
    assert.equal(answer.status, 202, answer.text);
    const job = await this.endOfJob(JSON.parse(answer.text).job_id);
    assert.equal(job.status, "succeeded", JSON.stringify(job));
  }

  /** Asks for what a job does, which must be accepted and succeed; returns the job. */
  async done(path, body) {
    const answer = await this.post(path, body);
    assert.equal(answer.status, 202, answer.text);
    const job = await this.endOfJob(JSON.parse(answer.text).job_id);
    assert.equal(job.status, "succeeded", JSON.stringify(job));
    return job;
  }

  /** Waits until a job has ended, and returns it. */
  endOfJob(id) {
    return eventually(`the end of job ${id}`, 180_000, async () => {
      const job = await this.read(`/api/jobs/${id}`);
      return ["succeeded", "failed", "cancelled"].includes(job.status) && job;
    });
  }

  /** Every event of a job so far, over all pages, oldest first. */
  async eventsOfJob(id) {
    const events = [];
    for (let after = 0; ; ) {
      const page = await this.read(`/api/jobs/${id}/events?limit=100&after=${after}`);
      if (page.items.length === 0) return events;
      events.push(...page.items);
      after = page.next_after;
    }
  }

  /**
   * The keys of the lines that the page of a job has in the end: its tasks and what they print. That a task began is of no
   * interest once something came after it.
   */
  async linesOfJob(id) {
    const events = await this.eventsOfJob(id);
    const lines = events.filter(({ kind, data }) => kind === "log" || (kind === "task" && data.status !== "started"));
    return lines.map(({ seq }) => `line-${seq}`);
  }

  // A connection for each request: a kept one would be a dead one after the server was killed.
  async #send(method, path, body) {
    const sentBody = body === undefined ? undefined : JSON.stringify(body);
    // Its length is told: Node.js sends no body with a DELETE that does not tell it.
    const headers = sentBody === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(sentBody) };
    if (this.#cookie) headers.cookie = this.#cookie;
    const sent = request(this.#url + path, { method, headers, agent: false, timeout: 30_000 });
    sent.on("timeout", () => sent.destroy(new Error(`${method} ${path}: no answer within 30 s`)));
    sent.end(sentBody);
    const [answer] = await once(sent, "response");
    return { status: answer.statusCode, headers: answer.headers, text: await text(answer) };
  }
}
