"""Residue tables and the Structure that every room exchanges."""
