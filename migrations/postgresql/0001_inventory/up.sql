-- Projects, key stores, keys and what they are made of. Times are microseconds since the Unix epoch; IDs are 32 hex digits.
-- A name is unique among what isn't DESTROYED, by a partial index.

CREATE TABLE projects (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    -- The highest key store number ever given: numbers are never used again.
    last_key_store_number BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX projects_name ON projects (name);

CREATE TABLE appkeys (
    appkey TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX appkeys_project ON appkeys (project_id);

CREATE TABLE key_stores (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    number BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    ipv4_check BOOLEAN NOT NULL,
    mac_check BOOLEAN NOT NULL,
    certificate_check BOOLEAN NOT NULL,
    check_mode TEXT COLLATE "C" NOT NULL CHECK (check_mode IN ('AND', 'OR')),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX key_stores_number ON key_stores (project_id, number);
CREATE UNIQUE INDEX key_stores_name ON key_stores (project_id, name) WHERE state <> 'DESTROYED';

CREATE TABLE keys (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    key_store_id BIGINT NOT NULL REFERENCES key_stores (id),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('SECRET', 'SYMMETRIC_KEY', 'ASYMMETRIC_KEY')),
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    current_version BIGINT NOT NULL,
    rotation_days BIGINT NOT NULL,
    next_rotation_at BIGINT,
    deletion_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX keys_name ON keys (key_store_id, name) WHERE state <> 'DESTROYED';

CREATE TABLE key_versions (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    version BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    origin TEXT COLLATE "C" NOT NULL CHECK (origin IN ('GENERATED', 'IMPORTED')),
    -- Confidential data, sealed in the token; none for what is an object there.
    sealed BYTEA,
    deletion_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, version)
);

-- Every object in the token, be it a version of a client's key or of the service's own.
CREATE TABLE token_objects (
    object_id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    -- Who is making or destroying it, and until when they are trusted to be at work.
    node TEXT COLLATE "C",
    lease_until BIGINT,
    public_key BYTEA,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX token_objects_version ON token_objects (key_id, version) WHERE state <> 'DESTROYED';
CREATE INDEX token_objects_lease ON token_objects (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE internal_keys (
    key_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('CONFIDENTIAL_DATA', 'CERTIFICATE_AUTHORITY', 'AUDIT_CHECKPOINT', 'SEAL', 'CANARY')),
    key_store_id BIGINT REFERENCES key_stores (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, version)
);
-- Two nodes that start together make one key for each purpose, not two.
CREATE UNIQUE INDEX internal_keys_purpose ON internal_keys (purpose, COALESCE(key_store_id, 0), version) WHERE state <> 'DESTROYED';

CREATE TABLE client_rules (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_store_id BIGINT NOT NULL REFERENCES key_stores (id),
    method TEXT COLLATE "C" NOT NULL CHECK (method IN ('IPV4', 'MAC', 'CERTIFICATE')),
    -- The network, the MAC address or the certificate's name.
    value TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA,
    serial TEXT COLLATE "C",
    not_after BIGINT,
    sealed_p12 BYTEA,
    description TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    deletion_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX client_rules_value ON client_rules (key_store_id, method, value) WHERE state <> 'DESTROYED';

CREATE TABLE settings (
    name TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value BYTEA NOT NULL
);
