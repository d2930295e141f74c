-- What a key store holds is listed in the order in which it was made. The indexes of names and values cover only what isn't DESTROYED, and a
-- statement that names its states by parameters can't be planned by them.
CREATE INDEX keys_inventory ON keys (key_store_id, created_at, id);
CREATE INDEX client_rules_inventory ON client_rules (key_store_id, method, id);
