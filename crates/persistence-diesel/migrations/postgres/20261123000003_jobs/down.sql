DROP TABLE events;
DROP TABLE job_exclusions;
DROP TABLE job_steps;
DROP TABLE jobs;
