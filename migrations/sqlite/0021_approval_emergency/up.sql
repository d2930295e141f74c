-- Who turned approval off alone, when and why, until somebody turns it on again or acknowledges that. All three are there, or none.
ALTER TABLE governance ADD COLUMN emergency_by TEXT;
ALTER TABLE governance ADD COLUMN emergency_at INTEGER;
ALTER TABLE governance ADD COLUMN emergency_reason TEXT;
