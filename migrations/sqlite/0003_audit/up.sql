-- The audit log and the usage counters. Both are written for every request: no foreign key is checked, and no more indexes are
-- kept than the questions "what happened in this project" and "what happened to this key" need.

CREATE TABLE audit_chains (
    -- Stands for the chain's name in its records.
    number INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    chain TEXT NOT NULL,
    node TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    signature BLOB,
    signer TEXT,
    head_sequence INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    -- The time of the last record: the chains that were written last come first in a tail.
    head_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_chains_chain ON audit_chains (chain);

CREATE TABLE audit_records (
    -- The chain's number times 2^40, plus the record's sequence number in that chain: one number, that grows, is by far the
    -- cheapest key to append by.
    position INTEGER PRIMARY KEY NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    request TEXT NOT NULL,
    project_id INTEGER,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    address TEXT,
    mac TEXT,
    certificate BLOB,
    user_agent TEXT,
    operation TEXT NOT NULL,
    key_store INTEGER,
    key_id TEXT,
    version INTEGER,
    result_code INTEGER NOT NULL,
    detail TEXT
) STRICT;
CREATE INDEX audit_records_project ON audit_records (project_id, at) WHERE project_id IS NOT NULL;
CREATE INDEX audit_records_key ON audit_records (key_id, at) WHERE key_id IS NOT NULL;

CREATE TABLE audit_checkpoints (
    number INTEGER PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL,
    previous BLOB NOT NULL,
    digest BLOB NOT NULL,
    signature BLOB NOT NULL,
    signer TEXT NOT NULL
) STRICT;

CREATE TABLE audit_checkpoint_heads (
    checkpoint INTEGER NOT NULL REFERENCES audit_checkpoints (number),
    chain TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (checkpoint, chain)
) STRICT, WITHOUT ROWID;
-- What was listed last of each chain: a checkpoint lists the chains that went on since.
CREATE INDEX audit_checkpoint_heads_chain ON audit_checkpoint_heads (chain, sequence);

-- A row per node, so that no two nodes write the same one.
CREATE TABLE usage (
    key_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    node TEXT NOT NULL,
    encryptions INTEGER NOT NULL,
    operations INTEGER NOT NULL,
    last_access INTEGER NOT NULL,
    PRIMARY KEY (key_id, version, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE rule_usage (
    rule_id INTEGER NOT NULL,
    node TEXT NOT NULL,
    last_access INTEGER NOT NULL,
    PRIMARY KEY (rule_id, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE access_key_usage (
    access_key_id TEXT NOT NULL,
    node TEXT NOT NULL,
    last_access INTEGER NOT NULL,
    PRIMARY KEY (access_key_id, node)
) STRICT, WITHOUT ROWID;
