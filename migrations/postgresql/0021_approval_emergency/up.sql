-- Who turned approval off alone, when and why, until somebody turns it on again or acknowledges that. All three are there, or none.
ALTER TABLE governance ADD COLUMN emergency_by TEXT COLLATE "C";
ALTER TABLE governance ADD COLUMN emergency_at BIGINT;
ALTER TABLE governance ADD COLUMN emergency_reason TEXT COLLATE "C";
