-- Accounts, what they may do, and what their programs show. Of secrets there are only hashes.

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    login TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    must_change_password INTEGER NOT NULL CHECK (must_change_password IN (0, 1)),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_login ON accounts (login);

CREATE TABLE account_roles (
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    project_id INTEGER NOT NULL REFERENCES projects (id),
    role TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, project_id, role)
) STRICT;

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    secret_hash BLOB NOT NULL,
    token_life_seconds INTEGER NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX access_keys_account ON access_keys (account_id);

-- A revoked token's row is deleted.
CREATE TABLE bearer_tokens (
    token_hash BLOB PRIMARY KEY NOT NULL,
    access_key_id TEXT NOT NULL REFERENCES access_keys (id),
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bearer_tokens_access_key ON bearer_tokens (access_key_id, expires_at);
CREATE INDEX bearer_tokens_expires ON bearer_tokens (expires_at);
