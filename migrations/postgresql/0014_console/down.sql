DROP TABLE console_sessions;
ALTER TABLE accounts DROP COLUMN administrator;
