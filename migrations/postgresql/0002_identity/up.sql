-- Accounts, what they may do, and what their programs show. Of secrets there are only hashes.

CREATE TABLE accounts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    must_change_password BOOLEAN NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_login ON accounts (login);

CREATE TABLE account_roles (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    project_id BIGINT NOT NULL REFERENCES projects (id),
    role TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, project_id, role)
);

CREATE TABLE access_keys (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    secret_hash BYTEA NOT NULL,
    token_life_seconds BIGINT NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX access_keys_account ON access_keys (account_id);

-- A revoked token's row is deleted.
CREATE TABLE bearer_tokens (
    token_hash BYTEA PRIMARY KEY NOT NULL,
    access_key_id TEXT COLLATE "C" NOT NULL REFERENCES access_keys (id),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX bearer_tokens_access_key ON bearer_tokens (access_key_id, expires_at);
CREATE INDEX bearer_tokens_expires ON bearer_tokens (expires_at);
