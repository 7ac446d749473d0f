"""Time, FLOP/s and memory of each module of a model (`foldcli bench modules`)."""
