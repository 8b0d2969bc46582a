-- target and readiness are JSON.
CREATE TABLE nodes (
    id             TEXT    NOT NULL PRIMARY KEY,
    short_id       TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL,
    source         TEXT    NOT NULL,
    provider       TEXT    NOT NULL,
    host_id        TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    target         TEXT,
    readiness      TEXT,
    probe_failures INTEGER NOT NULL,
    last_seen_at   BIGINT,
    created_at     BIGINT  NOT NULL,
    updated_at     BIGINT  NOT NULL,
    state_version  BIGINT  NOT NULL
);
CREATE INDEX nodes_of_host ON nodes (host_id, status);
