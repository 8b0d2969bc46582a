-- Who asked for what. A line outlives its account and its subject. detail is JSON and holds no secret.
-- AUTOINCREMENT: a number is never given twice.
CREATE TABLE audit (
    id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at             BIGINT  NOT NULL,
    account_id     TEXT REFERENCES accounts (id) ON DELETE SET NULL,
    action         TEXT    NOT NULL,
    subject_kind   TEXT,
    subject_id     TEXT,
    client_address TEXT,
    detail         TEXT
);
CREATE INDEX audit_by_age ON audit (at);

ALTER TABLE jobs ADD COLUMN requested_by TEXT REFERENCES accounts (id) ON DELETE SET NULL;
