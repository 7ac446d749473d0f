"""Checks whether folding works on this machine, with advice where something is missing."""
