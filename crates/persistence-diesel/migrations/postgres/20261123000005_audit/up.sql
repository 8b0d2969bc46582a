-- Who asked for what. A line outlives its account and its subject. detail is JSON and holds no secret.
CREATE TABLE audit (
    id             BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             BIGINT NOT NULL,
    account_id     TEXT COLLATE "C" REFERENCES accounts (id) ON DELETE SET NULL,
    action         TEXT   NOT NULL,
    subject_kind   TEXT,
    subject_id     TEXT COLLATE "C",
    client_address TEXT,
    detail         TEXT
);
CREATE INDEX audit_by_age ON audit (at);

ALTER TABLE jobs ADD COLUMN requested_by TEXT COLLATE "C" REFERENCES accounts (id) ON DELETE SET NULL;
