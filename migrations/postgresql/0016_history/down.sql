DROP INDEX keys_by_name;
DROP INDEX audit_records_noteworthy;
DROP INDEX audit_records_at;
