-- Signing in with a second factor, and the browsers from which somebody signed in before.

-- The seed of the codes, sealed by the token; and one that was made and not confirmed yet.
ALTER TABLE accounts ADD COLUMN sealed_totp BLOB;
ALTER TABLE accounts ADD COLUMN pending_totp BLOB;
-- The time step of the code that was used last: none is good twice (RFC 6238, 5.2).
ALTER TABLE accounts ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;

-- Until the code was given the session is good for nothing else.
ALTER TABLE console_sessions ADD COLUMN awaits_code INTEGER NOT NULL DEFAULT 0 CHECK (awaits_code IN (0, 1));

-- Each is good once: using it deletes it.
CREATE TABLE recovery_codes (
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    code_hash BLOB NOT NULL,
    PRIMARY KEY (account_id, code_hash)
) STRICT;

CREATE TABLE known_browsers (
    token_hash BLOB PRIMARY KEY NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    network TEXT NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX known_browsers_account ON known_browsers (account_id, last_used_at);
CREATE INDEX known_browsers_used ON known_browsers (last_used_at);
