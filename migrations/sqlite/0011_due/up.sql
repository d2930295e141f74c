-- What is due by the clock is looked for each minute: rotations, and deletions whose seven days are over.
CREATE INDEX keys_rotation_due ON keys (next_rotation_at) WHERE next_rotation_at IS NOT NULL;
CREATE INDEX keys_deletion_due ON keys (deletion_at) WHERE state = 'PENDING_DELETION';
CREATE INDEX key_versions_deletion_due ON key_versions (deletion_at) WHERE state = 'PENDING_DELETION';
CREATE INDEX client_rules_deletion_due ON client_rules (deletion_at) WHERE state = 'PENDING_DELETION';
