DROP TABLE import_pairs;
