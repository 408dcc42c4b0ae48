"""Recordings: reading, indexing, writing."""
