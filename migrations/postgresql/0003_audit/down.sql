DROP TABLE access_key_usage;
DROP TABLE rule_usage;
DROP TABLE usage;
DROP TABLE audit_checkpoint_heads;
DROP TABLE audit_checkpoints;
DROP TABLE audit_records;
DROP TABLE audit_chains;
