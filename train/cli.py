"""The command that trains."""

import click


@click.command()
def train() -> None:
    """Train a model as a RECIPE says."""
    from train import extra  # noqa: PLC0415 - imports wait until they are needed

    extra.require()
