"""Files in: FASTA, A3M, Stockholm, mmCIF, PDB and .npz to queries, alignments and chains."""
