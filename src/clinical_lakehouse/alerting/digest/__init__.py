"""Digests: what happened since the last one, on one page, as a mail."""
