"""Alerting: rules over what detectors saw, alerts' state, and who is told what, when and why."""
