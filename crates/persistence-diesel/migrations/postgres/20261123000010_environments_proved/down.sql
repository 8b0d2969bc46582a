ALTER TABLE environments DROP COLUMN proved_at;
