"""Mesh, layouts, collectives and launch: one model over many devices."""
