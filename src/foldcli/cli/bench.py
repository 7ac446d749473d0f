"""`foldcli bench`: measure, print the table."""

import torch
from rich.console import Console

from foldcli.bench.training import summary, table, time_training
from foldcli.compose import train_config


def bench_training(recipe: str, steps: int, overrides: list[str]) -> None:
    """Print where the time of a recipe's steps goes on this machine."""
    config = train_config(recipe, overrides)
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    times = time_training(config, steps, device)
    console = Console(markup=False, highlight=False)
    console.print(summary(times), soft_wrap=True)
    console.print(table(times))
