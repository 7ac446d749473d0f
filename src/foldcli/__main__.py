"""`python -m foldcli`, which is how torchrun starts it."""

from foldcli.cli.main import main

main()
