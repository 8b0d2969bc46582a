-- What the operator said of a remote node's host, JSON.
ALTER TABLE nodes ADD COLUMN remote TEXT;
