DROP TABLE known_browsers;
DROP TABLE recovery_codes;
ALTER TABLE console_sessions DROP COLUMN awaits_code;
ALTER TABLE accounts DROP COLUMN totp_step;
ALTER TABLE accounts DROP COLUMN pending_totp;
ALTER TABLE accounts DROP COLUMN sealed_totp;
