"""Rigid frames, torsion angles and all-atom coordinates."""
