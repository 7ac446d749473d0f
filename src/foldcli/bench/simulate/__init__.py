"""Time and memory on GPUs that are not here, predicted from kernels and a network (`foldcli bench simulate`)."""
