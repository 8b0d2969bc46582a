CREATE TABLE idempotency_keys (
    account_id   TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    key          TEXT   NOT NULL,
    request_hash TEXT   NOT NULL,
    node_id      TEXT   NOT NULL REFERENCES nodes (id),
    job_id       TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, key)
);
