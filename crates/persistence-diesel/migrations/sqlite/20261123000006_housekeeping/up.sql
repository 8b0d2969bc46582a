-- The bytes of a job's log so far, beyond the limit as soon as a line was dropped.
ALTER TABLE jobs ADD COLUMN log_bytes BIGINT NOT NULL DEFAULT 0;

-- What is thrown away is found by its age, and what hangs on it by its job.
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX events_without_job ON events (at) WHERE job_id IS NULL;
CREATE INDEX idempotency_keys_of_job ON idempotency_keys (job_id);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
