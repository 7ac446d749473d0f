"""Whether folding works on this machine, and what would make it work or work better."""
