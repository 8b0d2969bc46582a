DROP INDEX backups_completed;
DROP INDEX jobs_by_end;
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
DROP INDEX jobs_of_thing;
DROP INDEX jobs_of_kind;
DROP INDEX jobs_ended;
DROP INDEX jobs_open;
