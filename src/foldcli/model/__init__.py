"""AlphaFold 2, one file for each part of the paper's supplement."""
