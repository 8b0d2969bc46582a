// Rows of nodes, sites, backups and jobs as they are after a while, for pages that need no machine: what failed, what does not
// answer, and more of each than a page shows. The nodes are another host's, so the server leaves them alone.

import { randomBytes } from "node:crypto";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const FINGERPRINT = `SHA256:${"A".repeat(43)}`;

export class Seed {
  /** `[table, row]` each, in an order in which they can be written. */
  rows = [];
  #addresses = new Map();
  #now = Date.now();

  /** A node; `reasons` are `[code, message]` each. */
  node(name, { status = "active", reasons = [], checks = [], remote, address = "10.200.0.1", port = 22, ago = 48 * HOUR } = {}) {
    const id = this.#id(ago);
    this.#addresses.set(id, address);
    const checked = new Date(this.#now - MINUTE).toISOString();
    const readiness = {
      is_ready: reasons.length === 0,
      reason_codes: reasons.map(([code]) => code),
      guidance: reasons.map(([reason_code, message]) => ({ reason_code, message })),
      evidence: checks.map((check) => ({ ...check, checked_at: checked })),
      checked_at: checked,
    };
    const target = {
      hostname: remote ?? address,
      public_ip: address,
      ssh_port: port,
      ssh_user: remote ? "deploy" : "root",
      ssh_private_key_path: "/nowhere",
      host_key: `ssh-ed25519 ${"A".repeat(68)}`,
    };
    const host = { hostname: remote, ssh_port: port, ssh_user: "deploy", public_ip: null, host_key_fingerprint: FINGERPRINT };
    this.#add("nodes", {
      id,
      short_id: short(id),
      name,
      source: remote ? "remote" : "local",
      provider: remote ? "ssh" : "nspawn",
      host_id: "another",
      status,
      target: JSON.stringify(target),
      readiness: JSON.stringify(readiness),
      probe_failures: 0,
      last_seen_at: this.#micros(status === "active" ? MINUTE : 5 * HOUR),
      ...this.#moments(ago),
      state_version: 1,
      remote: remote ? JSON.stringify(host) : null,
    });
    return id;
  }

  /** A site with its production environment: `{site, environment}`. */
  site(name, slug, { node, status = "active", ago = 40 * HOUR } = {}) {
    const site = this.#id(ago);
    const primary = this.#id(ago);
    this.#add("sites", {
      id: site,
      short_id: short(site),
      name,
      slug,
      status,
      primary_environment_id: primary,
      ...this.#moments(ago),
      state_version: 1,
    });
    this.environment(site, name, "production", { id: primary, node, type: "production", status, ago });
    return { site, environment: primary };
  }

  environment(site, name, slug, { node, type = "staging", status = "active", id = this.#id(30 * HOUR), source = null, ago = 30 * HOUR } = {}) {
    this.#add("environments", {
      id,
      short_id: short(id),
      site_id: site,
      name,
      slug,
      environment_type: type,
      status,
      resting_status: status,
      node_id: node,
      source_environment_id: source,
      preview_url: `http://${short(id)}.${this.#addresses.get(node).replaceAll(".", "-")}.sslip.io`,
      wordpress_version: status === "active" ? "7.1.1" : null,
      sealed_secrets: "sealed",
      ...this.#moments(ago),
      state_version: 1,
    });
    return id;
  }

  backup({ site, environment }, { status = "completed", scope = "full", ago = HOUR } = {}) {
    const id = this.#id(ago);
    const isComplete = status === "completed";
    this.#add("backups", {
      id,
      environment_id: environment,
      site_id: site,
      scope,
      status,
      trigger: "manual",
      storage_type: isComplete ? "local" : null,
      storage_path: isComplete ? `backups/${id}.tar.zst` : null,
      checksum: isComplete ? "0f".repeat(32) : null,
      size_bytes: isComplete ? 27_262_976 : null,
      job_id: id,
      created_at: this.#micros(ago),
      completed_at: isComplete ? this.#micros(ago - MINUTE) : null,
    });
    return id;
  }

  /** A job that has ended; `on` is `{node, site, environment}`, `error` is `[code, detail]`. */
  job(kind, on, { status = "succeeded", error = [null, null], steps = [], ago = HOUR } = {}) {
    const id = this.#id(ago);
    const end = ago - steps.length * 10_000;
    this.#add("jobs", {
      id,
      kind,
      status,
      node_id: on.node,
      site_id: on.site ?? null,
      environment_id: on.environment ?? null,
      attempt_count: 1,
      max_attempts: 3,
      run_after: this.#micros(ago),
      claim_epoch: 1,
      lost_workers: 0,
      cancel_requested: false,
      started_at: this.#micros(ago),
      finished_at: this.#micros(end),
      error_code: error[0],
      error_detail: error[1],
      ...this.#moments(ago),
      log_bytes: 0,
    });
    this.#event(id, ago, "status", { status: "running", attempt: 1 });
    for (const [ordinal, name] of steps.entries()) {
      this.#event(id, ago - ordinal * 10_000, "log", { step: name, stream: "stdout", line: `what ${name} prints` });
      const isLast = ordinal === steps.length - 1;
      this.#add("job_steps", {
        job_id: id,
        name,
        ordinal,
        status: isLast && status === "failed" ? "failed" : "succeeded",
        attempt: 1,
        started_at: this.#micros(ago - ordinal * 10_000),
        finished_at: this.#micros(ago - (ordinal + 1) * 10_000),
        detail: null,
      });
    }
    return id;
  }

  #event(job, ago, kind, data) {
    this.#add("events", { job_id: job, node_id: null, at: this.#micros(ago), kind, data: JSON.stringify(data) });
  }

  #add(table, row) {
    this.rows.push([table, row]);
  }

  #moments(ago) {
    return { created_at: this.#micros(ago), updated_at: this.#micros(ago) };
  }

  #micros(ago) {
    return (this.#now - ago) * 1000;
  }

  /** A UUID of version 7: lists are in the order of their times. */
  #id(ago) {
    const time = (this.#now - ago).toString(16).padStart(12, "0");
    const random = randomBytes(10).toString("hex");
    return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
  }
}

const short = (id) => id.slice(-12);
