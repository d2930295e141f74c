-- The audit log and the usage counters. Both are written for every request: no foreign key is checked, and no more indexes are
-- kept than the questions "what happened in this project" and "what happened to this key" need.

CREATE TABLE audit_chains (
    -- Stands for the chain's name in its records.
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    signature BYTEA,
    signer TEXT COLLATE "C",
    head_sequence BIGINT NOT NULL,
    head_hash BYTEA NOT NULL,
    -- The time of the last record: the chains that were written last come first in a tail.
    head_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX audit_chains_chain ON audit_chains (chain);

CREATE TABLE audit_records (
    -- The chain's number times 2^40, plus the record's sequence number in that chain: one number, that grows, is by far the
    -- cheapest key to append by.
    position BIGINT PRIMARY KEY NOT NULL,
    previous BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    at BIGINT NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    project_id BIGINT,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor_name TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C",
    mac TEXT COLLATE "C",
    certificate BYTEA,
    user_agent TEXT COLLATE "C",
    operation TEXT COLLATE "C" NOT NULL,
    key_store BIGINT,
    key_id TEXT COLLATE "C",
    version BIGINT,
    result_code BIGINT NOT NULL,
    detail TEXT COLLATE "C"
);
CREATE INDEX audit_records_project ON audit_records (project_id, at) WHERE project_id IS NOT NULL;
CREATE INDEX audit_records_key ON audit_records (key_id, at) WHERE key_id IS NOT NULL;

CREATE TABLE audit_checkpoints (
    number BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    previous BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    signer TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit_checkpoint_heads (
    checkpoint BIGINT NOT NULL REFERENCES audit_checkpoints (number),
    chain TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (checkpoint, chain)
);
-- What was listed last of each chain: a checkpoint lists the chains that went on since.
CREATE INDEX audit_checkpoint_heads_chain ON audit_checkpoint_heads (chain, sequence);

-- A row per node, so that no two nodes write the same one.
CREATE TABLE usage (
    key_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    encryptions BIGINT NOT NULL,
    operations BIGINT NOT NULL,
    last_access BIGINT NOT NULL,
    PRIMARY KEY (key_id, version, node)
);

CREATE TABLE rule_usage (
    rule_id BIGINT NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    last_access BIGINT NOT NULL,
    PRIMARY KEY (rule_id, node)
);

CREATE TABLE access_key_usage (
    access_key_id TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    last_access BIGINT NOT NULL,
    PRIMARY KEY (access_key_id, node)
);
