-- The certificate authorities, one for each version of the CA's key. Two nodes that renew at the same moment make one.
CREATE TABLE authorities (
    version INTEGER PRIMARY KEY NOT NULL,
    key_id TEXT NOT NULL,
    certificate BLOB NOT NULL,
    -- The number and the time of its newest revocation list.
    crl_number INTEGER NOT NULL,
    crl_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO authorities (version, key_id, certificate, crl_number, crl_at, created_at)
SELECT internal_keys.version, internal_keys.key_id, settings.value, 0, 0, internal_keys.created_at
FROM settings, internal_keys
WHERE settings.name = 'ca_certificate' AND internal_keys.purpose = 'CERTIFICATE_AUTHORITY' AND internal_keys.state = 'ACTIVE';
DELETE FROM settings WHERE name = 'ca_certificate';

-- Which authority issued a certificate, and since when it is revoked: it stays on the list after its row is DESTROYED.
ALTER TABLE client_rules ADD COLUMN issuer INTEGER;
ALTER TABLE client_rules ADD COLUMN revoked_at INTEGER;
UPDATE client_rules SET issuer = 0 WHERE method = 'CERTIFICATE';
UPDATE client_rules SET revoked_at = changed_at WHERE method = 'CERTIFICATE' AND state <> 'ACTIVE';
CREATE INDEX client_rules_revoked ON client_rules (issuer, not_after) WHERE revoked_at IS NOT NULL;
CREATE INDEX client_rules_expiry ON client_rules (not_after) WHERE state = 'ACTIVE' AND not_after IS NOT NULL;
