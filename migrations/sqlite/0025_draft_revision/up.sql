-- How often a draft was edited: the place of its next change, and what whoever asks for it has seen.
ALTER TABLE change_requests ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
UPDATE change_requests SET revision = (SELECT COALESCE(MAX(position) + 1, 0) FROM change_items WHERE request_id = change_requests.id);
