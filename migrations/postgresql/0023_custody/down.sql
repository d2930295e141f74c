ALTER TABLE change_items DROP COLUMN password_hash;
ALTER TABLE change_requests DROP COLUMN decider_key;
ALTER TABLE access_keys DROP COLUMN maker_id;
