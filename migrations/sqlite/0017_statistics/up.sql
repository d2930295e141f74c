-- How often what was asked: summed up from the audit log by a task, a piece of a chain at a time. Nobody's request waits for it, and what
-- the log held before is summed up as well.

-- How far each chain is in the sums. Moved in the transaction that adds to these: nothing is counted twice, or left out.
CREATE TABLE counted_chains (
    -- The chain's number.
    chain INTEGER PRIMARY KEY NOT NULL,
    -- The sequence number of its last record that is in the sums.
    sequence INTEGER NOT NULL
) STRICT;

CREATE TABLE call_counts (
    project_id INTEGER NOT NULL,
    -- Each call is in two rows: one of its hour, which is dropped after some months, and one of its day.
    span TEXT NOT NULL CHECK (span IN ('DAY', 'HOUR')),
    -- HOUR: when it began, in microseconds since 1970. DAY: the date in the service's zone, in days since 1970-01-01.
    slot INTEGER NOT NULL,
    operation TEXT NOT NULL,
    result TEXT NOT NULL CHECK (result IN ('FAILED', 'REFUSED', 'SUCCESS')),
    -- Empty: no key was named.
    key_id TEXT NOT NULL,
    -- Who summed it up: no two nodes write the same row.
    node TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (project_id, span, slot, operation, result, key_id, node)
) STRICT, WITHOUT ROWID;
