"""Geometry of proteins: rigid frames, torsion angles, atoms, superposition, lDDT and violations."""
