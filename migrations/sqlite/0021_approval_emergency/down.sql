ALTER TABLE governance DROP COLUMN emergency_reason;
ALTER TABLE governance DROP COLUMN emergency_at;
ALTER TABLE governance DROP COLUMN emergency_by;
