"""Measurements of time and memory (`foldcli bench`), one folder or file for each command."""
