"""Evaluation of pose networks under named protocols: predictors, metrics, protocols, reports."""
