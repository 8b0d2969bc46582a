DROP INDEX idempotency_keys_by_age;
DROP INDEX idempotency_keys_of_job;
DROP INDEX events_without_job;
DROP INDEX jobs_by_end;
ALTER TABLE jobs DROP COLUMN log_bytes;
