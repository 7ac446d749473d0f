"""Files that a person or a program reads: PDB, ModelCIF, JSON, plots."""
