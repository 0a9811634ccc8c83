"""`make bench`: what this system does in a second, beside its peers on the same PostgreSQL."""
