"""Escalation: who is paged next while nobody answers, as data with a due time."""
