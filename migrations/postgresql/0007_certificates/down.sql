DROP INDEX client_rules_expiry;
DROP INDEX client_rules_revoked;
ALTER TABLE client_rules DROP COLUMN revoked_at;
ALTER TABLE client_rules DROP COLUMN issuer;
INSERT INTO settings (name, value) SELECT 'ca_certificate', certificate FROM authorities ORDER BY version DESC LIMIT 1;
DROP TABLE authorities;
