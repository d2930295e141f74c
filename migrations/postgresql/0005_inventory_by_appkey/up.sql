-- Whether v1.0 reads a project's inventory by its appkey alone, as clients of the hosted service expect.
ALTER TABLE projects ADD COLUMN appkey_reads BOOLEAN NOT NULL DEFAULT TRUE;
