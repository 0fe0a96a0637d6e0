"""Evaluation: scoring a restorer on degraded music, and the papers' tables."""
