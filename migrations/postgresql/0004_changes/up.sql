-- What changed, for the caches of all nodes. A change's number is taken by UPDATE change_seq SET n = n + 1 in the changing
-- transaction: a number that a reader sees has none before it that is still to come.

CREATE TABLE change_seq (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    n BIGINT NOT NULL
);
INSERT INTO change_seq (id, n) VALUES (1, 0);

CREATE TABLE change_log (
    number BIGINT PRIMARY KEY NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);
