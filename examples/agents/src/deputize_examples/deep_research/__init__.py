"""Researchers without a name, in parallel: each reads, and none of them can publish."""
