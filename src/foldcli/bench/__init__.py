"""What `foldcli bench` measures, and how it prints it."""
