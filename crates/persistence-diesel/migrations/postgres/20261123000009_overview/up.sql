-- Lists by status and by kind, newest first. Two indexes and not one, because a claim takes neither: the oldest that waits is
-- found by the index of the line.
CREATE INDEX jobs_open ON jobs (status, id) WHERE finished_at IS NULL;
CREATE INDEX jobs_ended ON jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_of_kind ON jobs (kind, id);
-- Later jobs of one kind on the same thing: on an environment, or on a node where the job has none.
CREATE INDEX jobs_of_thing ON jobs (COALESCE(environment_id, node_id), kind, id, status);
-- How jobs ended, by the time.
DROP INDEX jobs_by_end;
CREATE INDEX jobs_by_end ON jobs (finished_at, status) WHERE finished_at IS NOT NULL;
-- The newest completed backup of an environment.
CREATE INDEX backups_completed ON backups (environment_id, completed_at) WHERE status = 'completed';
