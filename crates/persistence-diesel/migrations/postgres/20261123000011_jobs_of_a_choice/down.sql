DROP INDEX jobs_of_node_by_kind;
DROP INDEX jobs_ended_of_site;
DROP INDEX jobs_ended_of_node;
DROP INDEX jobs_ended_of_kind;
