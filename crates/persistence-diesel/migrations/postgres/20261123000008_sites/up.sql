-- A site, its environments and their backups. backup_schedule is JSON. sealed_secrets is sealed by a key that is not in
-- the database.
CREATE TABLE sites (
    id                     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    short_id               TEXT COLLATE "C" NOT NULL UNIQUE,
    name                   TEXT   NOT NULL,
    slug                   TEXT COLLATE "C" NOT NULL UNIQUE,
    status                 TEXT   NOT NULL,
    primary_environment_id TEXT COLLATE "C" NOT NULL,
    created_at             BIGINT NOT NULL,
    updated_at             BIGINT NOT NULL,
    state_version          BIGINT NOT NULL
);

-- What an environment is a copy of may be gone.
CREATE TABLE environments (
    id                    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    short_id              TEXT COLLATE "C" NOT NULL UNIQUE,
    site_id               TEXT COLLATE "C" NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    name                  TEXT   NOT NULL,
    slug                  TEXT COLLATE "C" NOT NULL,
    environment_type      TEXT   NOT NULL,
    status                TEXT   NOT NULL,
    resting_status        TEXT   NOT NULL,
    node_id               TEXT COLLATE "C" NOT NULL REFERENCES nodes (id),
    source_environment_id TEXT COLLATE "C",
    promotion_preset      TEXT,
    preview_url           TEXT   NOT NULL,
    wordpress_version     TEXT,
    backup_schedule       TEXT,
    sealed_secrets        TEXT   NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    state_version         BIGINT NOT NULL,
    UNIQUE (site_id, slug)
);
CREATE INDEX environments_of_node ON environments (node_id);
CREATE INDEX environments_with_schedule ON environments (id) WHERE backup_schedule IS NOT NULL;

-- A backup outlives the job that made it.
CREATE TABLE backups (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    environment_id  TEXT COLLATE "C" NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    site_id         TEXT COLLATE "C" NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    scope           TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    "trigger"       TEXT   NOT NULL,
    storage_type    TEXT,
    storage_path    TEXT,
    checksum        TEXT,
    size_bytes      BIGINT,
    retention_until BIGINT,
    job_id          TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    completed_at    BIGINT
);
CREATE INDEX backups_of_environment ON backups (environment_id, id);
CREATE INDEX backups_of_site ON backups (site_id, id);
CREATE INDEX backups_of_job ON backups (job_id);
CREATE INDEX backups_at_work ON backups (environment_id) WHERE status IN ('pending', 'running');
CREATE INDEX backups_by_retention ON backups (retention_until) WHERE status = 'completed';
CREATE INDEX backups_to_remove ON backups (id) WHERE status = 'expired' AND storage_path IS NOT NULL;

-- Jobs name sites, environments and backups as plain text: the record survives a deletion.
ALTER TABLE jobs ADD COLUMN backup_id TEXT COLLATE "C";
CREATE INDEX jobs_of_site ON jobs (site_id, id) WHERE site_id IS NOT NULL;
CREATE INDEX jobs_of_node_itself ON jobs (node_id, id) WHERE site_id IS NULL;

-- A request that makes no node has a key without one: its job tells what it made.
ALTER TABLE idempotency_keys ALTER COLUMN node_id DROP NOT NULL;
