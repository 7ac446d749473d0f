"""Residue tables, and the Structure that the other packages exchange."""
