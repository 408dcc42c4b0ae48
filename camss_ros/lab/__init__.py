"""Comparisons that take many runs: each is one command that writes a page, a plot and JSON."""
