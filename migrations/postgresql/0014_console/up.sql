-- People at the console: who administers the installation, and who is signed in.

ALTER TABLE accounts ADD COLUMN administrator BOOLEAN NOT NULL DEFAULT FALSE;

-- Of a session's token there is only a hash. A session that is ended is deleted.
CREATE TABLE console_sessions (
    token_hash BYTEA PRIMARY KEY NOT NULL,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    signed_in_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL
);
CREATE INDEX console_sessions_account ON console_sessions (account_id, expires_at);
CREATE INDEX console_sessions_expires ON console_sessions (expires_at);
