-- When a job or a reset last found an environment to work; of those from before it is not known.
ALTER TABLE environments ADD COLUMN proved_at BIGINT;
