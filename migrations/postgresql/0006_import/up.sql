-- Pairs in the token that unwrap one imported key each. `token_objects` knows them by key_id, version 0. Of the import token, which
-- the caller shows to use a pair, there is only the SHA-256.
CREATE TABLE import_pairs (
    key_id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    token_hash BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    expires_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX import_pairs_token ON import_pairs (token_hash);
CREATE INDEX import_pairs_project ON import_pairs (project_id) WHERE state <> 'DESTROYED';
CREATE INDEX import_pairs_expires ON import_pairs (expires_at) WHERE state = 'ACTIVE';
