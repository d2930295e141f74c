-- People at the console: who administers the installation, and who is signed in.

ALTER TABLE accounts ADD COLUMN administrator INTEGER NOT NULL DEFAULT 0 CHECK (administrator IN (0, 1));

-- Of a session's token there is only a hash. A session that is ended is deleted.
CREATE TABLE console_sessions (
    token_hash BLOB PRIMARY KEY NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    signed_in_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL
) STRICT;
CREATE INDEX console_sessions_account ON console_sessions (account_id, expires_at);
CREATE INDEX console_sessions_expires ON console_sessions (expires_at);
