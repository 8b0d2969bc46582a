CREATE TABLE idempotency_keys (
    account_id   TEXT COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    key          TEXT COLLATE "C" NOT NULL,
    request_hash TEXT   NOT NULL,
    node_id      TEXT COLLATE "C" NOT NULL REFERENCES nodes (id),
    job_id       TEXT COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, key)
);
