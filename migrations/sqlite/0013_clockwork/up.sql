-- Key versions that have encrypted often, on any node, are looked for each minute: those few rows alone are in the index. A key version
-- that 128 nodes share evenly is found before all of them together have encrypted 2^31 times.
CREATE INDEX usage_often ON usage (key_id, version) WHERE encryptions >= 16777216;
