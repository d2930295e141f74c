-- Who is told of what, and the messages to them, until they are sent.

-- Without a project: of the installation. A webhook's secret is sealed by the token.
CREATE TABLE notification_recipients (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id BIGINT REFERENCES projects (id),
    channel TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    events TEXT COLLATE "C" NOT NULL,
    enabled BOOLEAN NOT NULL,
    sealed_secret BYTEA,
    -- Messages that were not kept because too many waited.
    dropped BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX notification_recipients_project ON notification_recipients (project_id, channel, target) WHERE project_id IS NOT NULL;
CREATE UNIQUE INDEX notification_recipients_installation ON notification_recipients (channel, target) WHERE project_id IS NULL;

-- The outbox: a row comes with the change that it tells of, in one transaction.
CREATE TABLE notification_messages (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    recipient_id BIGINT NOT NULL REFERENCES notification_recipients (id),
    event TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    facts TEXT COLLATE "C" NOT NULL,
    happened_at BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    node TEXT COLLATE "C",
    lease_until BIGINT,
    problem TEXT COLLATE "C",
    done_at BIGINT
);
CREATE INDEX notification_messages_due ON notification_messages (state, due_at);
CREATE INDEX notification_messages_recipient ON notification_messages (recipient_id, state, happened_at);

-- What was told once and is not told again.
CREATE TABLE notification_marks (
    mark TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    keep_until BIGINT NOT NULL
);
CREATE INDEX notification_marks_kept ON notification_marks (keep_until);
