CREATE TABLE jobs (
    id               TEXT    NOT NULL PRIMARY KEY,
    kind             TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    node_id          TEXT REFERENCES nodes (id),
    site_id          TEXT,
    environment_id   TEXT,
    attempt_count    INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    run_after        BIGINT  NOT NULL,
    claim_epoch      BIGINT  NOT NULL,
    locked_at        BIGINT,
    locked_by        TEXT,
    lease_until      BIGINT,
    lost_workers     INTEGER NOT NULL,
    cancel_requested BOOLEAN NOT NULL,
    started_at       BIGINT,
    finished_at      BIGINT,
    error_code       TEXT,
    error_detail     TEXT,
    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL
);
CREATE INDEX jobs_in_line ON jobs (created_at, id) WHERE status = 'queued';
CREATE INDEX jobs_at_work ON jobs (lease_until) WHERE status = 'running';
CREATE INDEX jobs_of_node ON jobs (node_id, id);
-- One job that works on a node as such, not on a site of it, waits or runs at a time.
CREATE UNIQUE INDEX jobs_one_open_per_node ON jobs (node_id)
    WHERE site_id IS NULL AND status IN ('queued', 'running');

CREATE TABLE job_steps (
    job_id      TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    ordinal     INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    started_at  BIGINT  NOT NULL,
    finished_at BIGINT,
    detail      TEXT,
    PRIMARY KEY (job_id, name)
);

CREATE TABLE job_exclusions (
    job_id TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key    TEXT    NOT NULL,
    held   BOOLEAN NOT NULL,
    PRIMARY KEY (job_id, key)
);
-- The guard behind the claim: two running jobs never hold the same key.
CREATE UNIQUE INDEX job_exclusions_held_once ON job_exclusions (key) WHERE held;

-- AUTOINCREMENT: a number is never given twice. data is JSON.
CREATE TABLE events (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    job_id  TEXT REFERENCES jobs (id) ON DELETE CASCADE,
    node_id TEXT REFERENCES nodes (id),
    at      BIGINT  NOT NULL,
    kind    TEXT    NOT NULL,
    data    TEXT    NOT NULL
);
CREATE INDEX events_of_job ON events (job_id, seq);
