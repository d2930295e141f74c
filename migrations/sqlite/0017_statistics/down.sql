DROP TABLE call_counts;
DROP TABLE counted_chains;
