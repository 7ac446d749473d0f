"""AlphaFold 2 (Jumper et al. 2021), one file for each part of the paper's supplement (Suppl.)."""
