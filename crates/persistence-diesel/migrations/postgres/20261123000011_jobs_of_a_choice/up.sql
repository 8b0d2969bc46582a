-- Lists by several fields at once, where one of them is rare among the others. Those of a status have ended ones only: the few
-- that are open are found by their status, and a claim, which changes it, writes none of these and has no use for them.
CREATE INDEX jobs_ended_of_kind ON jobs (kind, status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_ended_of_node ON jobs (node_id, status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_ended_of_site ON jobs (site_id, status, id) WHERE finished_at IS NOT NULL AND site_id IS NOT NULL;
CREATE INDEX jobs_of_node_by_kind ON jobs (node_id, kind, id);
