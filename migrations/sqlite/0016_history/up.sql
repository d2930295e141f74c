-- The history of use is read newest first: of one project and of one key by the indexes that are there, of the whole installation by
-- time. Each request pays for that index; it grows at its end alone.
CREATE INDEX audit_records_at ON audit_records (at);
-- What isn't the daily use of a project's keys that went well: refusals, failures, changes, people signing in. There is little of it, and it is what is
-- looked for, so it is found without reading past millions of encryptions. The condition, and `at + 0`, which keeps planners off the
-- index above, are repeated word for word by store/history.rs.
CREATE INDEX audit_records_noteworthy ON audit_records ((at + 0), project_id, result_code, operation, at)
WHERE project_id IS NULL OR result_code <> 0 OR (operation <> 'ENCRYPT' AND operation <> 'DECRYPT' AND operation <> 'SIGN' AND
    operation <> 'VERIFY' AND operation <> 'READ_SECRET' AND operation <> 'CREATE_LOCAL_KEY' AND operation <> 'CONFIRM' AND operation <> 'SIGN_STANDARD' AND
    operation <> 'VERIFY_STANDARD' AND operation <> 'READ_PUBLIC_KEY' AND operation <> 'READ_INVENTORY');
-- A key is asked for by its name too, whatever has become of it.
CREATE INDEX keys_by_name ON keys (name);
