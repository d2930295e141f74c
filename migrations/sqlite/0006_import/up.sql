-- Pairs in the token that unwrap one imported key each. `token_objects` knows them by key_id, version 0. Of the import token, which
-- the caller shows to use a pair, there is only the SHA-256.
CREATE TABLE import_pairs (
    key_id TEXT PRIMARY KEY NOT NULL,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    token_hash BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    expires_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX import_pairs_token ON import_pairs (token_hash);
CREATE INDEX import_pairs_project ON import_pairs (project_id) WHERE state <> 'DESTROYED';
CREATE INDEX import_pairs_expires ON import_pairs (expires_at) WHERE state = 'ACTIVE';
