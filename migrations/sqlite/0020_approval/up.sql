-- Approval: whether changes of a project need a second person, and what somebody has asked for.

-- A row of its own, not columns of the project's: every change reads it to its commit (FOR SHARE, on PostgreSQL), and a project's row is
-- updated by whoever makes a key store.
CREATE TABLE governance (
    project_id INTEGER PRIMARY KEY NOT NULL REFERENCES projects (id),
    approval INTEGER NOT NULL CHECK (approval IN (0, 1)),
    -- Days until what is asked for, or drafted, and not decided upon expires.
    expiry_days INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
INSERT INTO governance (project_id, approval, expiry_days, changed_by, changed_at) SELECT id, 0, 14, created_by, created_at FROM projects;

-- Whether an access key may approve in its account's name.
ALTER TABLE access_keys ADD COLUMN may_approve INTEGER NOT NULL DEFAULT 0 CHECK (may_approve IN (0, 1));

CREATE TABLE change_requests (
    id TEXT PRIMARY KEY NOT NULL,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    -- None: it is about the project itself.
    key_store_id INTEGER REFERENCES key_stores (id),
    -- Whether the key store comes into being with it.
    new_key_store INTEGER NOT NULL CHECK (new_key_store IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('DRAFT', 'READY', 'APPLYING', 'APPROVED', 'DENIED', 'WITHDRAWN', 'EXPIRED', 'FAILED')),
    -- Who began the draft, or asked.
    requester_id INTEGER NOT NULL REFERENCES accounts (id),
    requester TEXT NOT NULL,
    note TEXT NOT NULL,
    -- Of exactly what is asked for; a draft has none.
    digest BLOB,
    decider_id INTEGER REFERENCES accounts (id),
    decider TEXT,
    -- Of the denial or the failure.
    reason TEXT,
    created_at INTEGER NOT NULL,
    requested_at INTEGER,
    decided_at INTEGER,
    ended_at INTEGER,
    expires_at INTEGER NOT NULL,
    -- Who applies it, until when it is trusted to be at work, and how often somebody began to.
    node TEXT,
    lease_until INTEGER,
    attempts INTEGER NOT NULL
) STRICT;
-- A key store has one draft or request at a time.
CREATE UNIQUE INDEX change_requests_open ON change_requests (key_store_id) WHERE state IN ('DRAFT', 'READY', 'APPLYING');
CREATE INDEX change_requests_project ON change_requests (project_id, created_at, id);
CREATE INDEX change_requests_expiry ON change_requests (expires_at) WHERE state IN ('DRAFT', 'READY');
CREATE INDEX change_requests_lease ON change_requests (lease_until) WHERE state = 'APPLYING';

CREATE TABLE change_items (
    request_id TEXT NOT NULL REFERENCES change_requests (id),
    position INTEGER NOT NULL,
    -- What is to be changed, JSON, without secrets.
    change TEXT NOT NULL,
    -- What it builds on, JSON: values as they were shown, and when it was last changed.
    base TEXT NOT NULL,
    -- Confidential data, a .p12 or a password's hash, until it is applied or undone.
    sealed BLOB,
    -- Of the sealed part: it stays for the digest.
    sealed_hash BLOB,
    -- Its object in the token, and of which key that is a version.
    object_id TEXT,
    object_key TEXT,
    object_version INTEGER,
    editor_id INTEGER NOT NULL REFERENCES accounts (id),
    editor TEXT NOT NULL,
    edited_at INTEGER NOT NULL,
    PRIMARY KEY (request_id, position)
) STRICT;

-- Whoever put something into a draft or took something out of it doesn't approve it.
CREATE TABLE change_editors (
    request_id TEXT NOT NULL REFERENCES change_requests (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (request_id, account_id)
) STRICT;
