"""Losses: pure functions, one value per sample; `objective.py` says which label feeds which."""
