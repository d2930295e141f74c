-- A key store's keys are listed in the order in which they were made, a page at a time.
CREATE INDEX keys_inventory ON keys (key_store_id, created_at, id);
