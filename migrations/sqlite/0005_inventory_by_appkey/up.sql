-- Whether v1.0 reads a project's inventory by its appkey alone, as clients of the hosted service expect.
ALTER TABLE projects ADD COLUMN appkey_reads INTEGER NOT NULL DEFAULT 1 CHECK (appkey_reads IN (0, 1));
