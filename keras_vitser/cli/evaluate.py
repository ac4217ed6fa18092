"""`keras-vitser evaluate`."""

import typer


def evaluate(model: str = typer.Argument(None)) -> None:
    """x"""
