DROP INDEX client_rules_deletion_due;
DROP INDEX key_versions_deletion_due;
DROP INDEX keys_deletion_due;
DROP INDEX keys_rotation_due;
