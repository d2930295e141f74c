-- Approval: whether changes of a project need a second person, and what somebody has asked for.

-- A row of its own, not columns of the project's: every change reads it to its commit (FOR SHARE, on PostgreSQL), and a project's row is
-- updated by whoever makes a key store.
CREATE TABLE governance (
    project_id BIGINT PRIMARY KEY NOT NULL REFERENCES projects (id),
    approval BOOLEAN NOT NULL,
    -- Days until what is asked for, or drafted, and not decided upon expires.
    expiry_days BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
INSERT INTO governance (project_id, approval, expiry_days, changed_by, changed_at) SELECT id, FALSE, 14, created_by, created_at FROM projects;

-- Whether an access key may approve in its account's name.
ALTER TABLE access_keys ADD COLUMN may_approve BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE change_requests (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    -- None: it is about the project itself.
    key_store_id BIGINT REFERENCES key_stores (id),
    -- Whether the key store comes into being with it.
    new_key_store BOOLEAN NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('DRAFT', 'READY', 'APPLYING', 'APPROVED', 'DENIED', 'WITHDRAWN', 'EXPIRED', 'FAILED')),
    -- Who began the draft, or asked.
    requester_id BIGINT NOT NULL REFERENCES accounts (id),
    requester TEXT COLLATE "C" NOT NULL,
    note TEXT COLLATE "C" NOT NULL,
    -- Of exactly what is asked for; a draft has none.
    digest BYTEA,
    decider_id BIGINT REFERENCES accounts (id),
    decider TEXT COLLATE "C",
    -- Of the denial or the failure.
    reason TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    requested_at BIGINT,
    decided_at BIGINT,
    ended_at BIGINT,
    expires_at BIGINT NOT NULL,
    -- Who applies it, until when it is trusted to be at work, and how often somebody began to.
    node TEXT COLLATE "C",
    lease_until BIGINT,
    attempts BIGINT NOT NULL
);
-- A key store has one draft or request at a time.
CREATE UNIQUE INDEX change_requests_open ON change_requests (key_store_id) WHERE state IN ('DRAFT', 'READY', 'APPLYING');
CREATE INDEX change_requests_project ON change_requests (project_id, created_at, id);
CREATE INDEX change_requests_expiry ON change_requests (expires_at) WHERE state IN ('DRAFT', 'READY');
CREATE INDEX change_requests_lease ON change_requests (lease_until) WHERE state = 'APPLYING';

CREATE TABLE change_items (
    request_id TEXT COLLATE "C" NOT NULL REFERENCES change_requests (id),
    position BIGINT NOT NULL,
    -- What is to be changed, JSON, without secrets.
    change TEXT COLLATE "C" NOT NULL,
    -- What it builds on, JSON: values as they were shown, and when it was last changed.
    base TEXT COLLATE "C" NOT NULL,
    -- Confidential data, a .p12 or a password's hash, until it is applied or undone.
    sealed BYTEA,
    -- Of the sealed part: it stays for the digest.
    sealed_hash BYTEA,
    -- Its object in the token, and of which key that is a version.
    object_id TEXT COLLATE "C",
    object_key TEXT COLLATE "C",
    object_version BIGINT,
    editor_id BIGINT NOT NULL REFERENCES accounts (id),
    editor TEXT COLLATE "C" NOT NULL,
    edited_at BIGINT NOT NULL,
    PRIMARY KEY (request_id, position)
);

-- Whoever put something into a draft or took something out of it doesn't approve it.
CREATE TABLE change_editors (
    request_id TEXT COLLATE "C" NOT NULL REFERENCES change_requests (id),
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (request_id, account_id)
);
