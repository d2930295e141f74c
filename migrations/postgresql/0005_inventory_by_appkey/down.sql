ALTER TABLE projects DROP COLUMN appkey_reads;
