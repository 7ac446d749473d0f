"""Output files: structures as PDB and ModelCIF, confidence as JSON, plots, HTML reports."""
