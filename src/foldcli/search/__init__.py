"""Alignments and templates: local search and its sources."""
