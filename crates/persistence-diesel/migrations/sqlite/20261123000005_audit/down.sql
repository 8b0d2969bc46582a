ALTER TABLE jobs DROP COLUMN requested_by;
DROP TABLE audit;
