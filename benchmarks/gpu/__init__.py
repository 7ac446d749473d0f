"""The parts of the report on a CUDA GPU; each runs in a process of its own."""
