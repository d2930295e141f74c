ALTER TABLE accounts DROP COLUMN password_set_by;
