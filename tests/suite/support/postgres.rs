//! A temporary PostgreSQL cluster.
