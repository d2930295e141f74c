-- Who is told of what, and the messages to them, until they are sent.

-- Without a project: of the installation. A webhook's secret is sealed by the token.
CREATE TABLE notification_recipients (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    project_id INTEGER REFERENCES projects (id),
    channel TEXT NOT NULL,
    target TEXT NOT NULL,
    events TEXT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    sealed_secret BLOB,
    -- Messages that were not kept because too many waited.
    dropped INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX notification_recipients_project ON notification_recipients (project_id, channel, target) WHERE project_id IS NOT NULL;
CREATE UNIQUE INDEX notification_recipients_installation ON notification_recipients (channel, target) WHERE project_id IS NULL;

-- The outbox: a row comes with the change that it tells of, in one transaction.
CREATE TABLE notification_messages (
    id TEXT PRIMARY KEY NOT NULL,
    recipient_id INTEGER NOT NULL REFERENCES notification_recipients (id),
    event TEXT NOT NULL,
    project TEXT NOT NULL,
    facts TEXT NOT NULL,
    happened_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    node TEXT,
    lease_until INTEGER,
    problem TEXT,
    done_at INTEGER
) STRICT;
CREATE INDEX notification_messages_due ON notification_messages (state, due_at);
CREATE INDEX notification_messages_recipient ON notification_messages (recipient_id, state, happened_at);

-- What was told once and is not told again.
CREATE TABLE notification_marks (
    mark TEXT PRIMARY KEY NOT NULL,
    keep_until INTEGER NOT NULL
) STRICT;
CREATE INDEX notification_marks_kept ON notification_marks (keep_until);
