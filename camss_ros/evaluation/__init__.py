"""Metrics, data set evaluation and reports."""
