-- Looking at requests is no more noteworthy than looking at keys: each page of the console does it. The condition, and `at + 0`, are repeated word for
-- word by store/history.rs.
DROP INDEX audit_records_noteworthy;
CREATE INDEX audit_records_noteworthy ON audit_records ((at + 0), project_id, result_code, operation, at)
WHERE project_id IS NULL OR result_code <> 0 OR (operation <> 'ENCRYPT' AND operation <> 'DECRYPT' AND operation <> 'SIGN' AND
    operation <> 'VERIFY' AND operation <> 'READ_SECRET' AND operation <> 'CREATE_LOCAL_KEY' AND operation <> 'CONFIRM' AND operation <> 'SIGN_STANDARD' AND
    operation <> 'VERIFY_STANDARD' AND operation <> 'READ_PUBLIC_KEY' AND operation <> 'READ_INVENTORY' AND operation <> 'READ_APPROVALS');
