-- Projects, key stores, keys and what they are made of. Times are microseconds since the Unix epoch; IDs are 32 hex digits.
-- A name is unique among what isn't DESTROYED, by a partial index.

CREATE TABLE projects (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    name TEXT NOT NULL,
    -- The highest key store number ever given: numbers are never used again.
    last_key_store_number INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX projects_name ON projects (name);

CREATE TABLE appkeys (
    appkey TEXT PRIMARY KEY NOT NULL,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX appkeys_project ON appkeys (project_id);

CREATE TABLE key_stores (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    ipv4_check INTEGER NOT NULL CHECK (ipv4_check IN (0, 1)),
    mac_check INTEGER NOT NULL CHECK (mac_check IN (0, 1)),
    certificate_check INTEGER NOT NULL CHECK (certificate_check IN (0, 1)),
    check_mode TEXT NOT NULL CHECK (check_mode IN ('AND', 'OR')),
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX key_stores_number ON key_stores (project_id, number);
CREATE UNIQUE INDEX key_stores_name ON key_stores (project_id, name) WHERE state <> 'DESTROYED';

CREATE TABLE keys (
    id TEXT PRIMARY KEY NOT NULL,
    key_store_id INTEGER NOT NULL REFERENCES key_stores (id),
    kind TEXT NOT NULL CHECK (kind IN ('SECRET', 'SYMMETRIC_KEY', 'ASYMMETRIC_KEY')),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    current_version INTEGER NOT NULL,
    rotation_days INTEGER NOT NULL,
    next_rotation_at INTEGER,
    deletion_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_name ON keys (key_store_id, name) WHERE state <> 'DESTROYED';

CREATE TABLE key_versions (
    key_id TEXT NOT NULL REFERENCES keys (id),
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    origin TEXT NOT NULL CHECK (origin IN ('GENERATED', 'IMPORTED')),
    -- Confidential data, sealed in the token; none for what is an object there.
    sealed BLOB,
    deletion_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, version)
) STRICT;

-- Every object in the token, be it a version of a client's key or of the service's own.
CREATE TABLE token_objects (
    object_id TEXT PRIMARY KEY NOT NULL,
    key_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    -- Who is making or destroying it, and until when they are trusted to be at work.
    node TEXT,
    lease_until INTEGER,
    public_key BLOB,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX token_objects_version ON token_objects (key_id, version) WHERE state <> 'DESTROYED';
CREATE INDEX token_objects_lease ON token_objects (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE internal_keys (
    key_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('CONFIDENTIAL_DATA', 'CERTIFICATE_AUTHORITY', 'AUDIT_CHECKPOINT', 'SEAL', 'CANARY')),
    key_store_id INTEGER REFERENCES key_stores (id),
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, version)
) STRICT;
-- Two nodes that start together make one key for each purpose, not two.
CREATE UNIQUE INDEX internal_keys_purpose ON internal_keys (purpose, COALESCE(key_store_id, 0), version) WHERE state <> 'DESTROYED';

CREATE TABLE client_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    key_store_id INTEGER NOT NULL REFERENCES key_stores (id),
    method TEXT NOT NULL CHECK (method IN ('IPV4', 'MAC', 'CERTIFICATE')),
    -- The network, the MAC address or the certificate's name.
    value TEXT NOT NULL,
    fingerprint BLOB,
    serial TEXT,
    not_after INTEGER,
    sealed_p12 BLOB,
    description TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PENDING_DELETION', 'DESTROYING', 'DESTROYED')),
    deletion_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX client_rules_value ON client_rules (key_store_id, method, value) WHERE state <> 'DESTROYED';

CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;
