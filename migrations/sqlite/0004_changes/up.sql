-- What changed, for the caches of all nodes. A change's number is taken by UPDATE change_seq SET n = n + 1 in the changing
-- transaction: a number that a reader sees has none before it that is still to come.

CREATE TABLE change_seq (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    n INTEGER NOT NULL
) STRICT;
INSERT INTO change_seq (id, n) VALUES (1, 0);

CREATE TABLE change_log (
    number INTEGER PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
