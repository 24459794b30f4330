"""Plain tables for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> Table:
    """A plain table: the first `texts` columns are words and may wrap, the others numbers."""
    made = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, name in enumerate(columns):
        is_text = place < texts
        made.add_column(Text(name), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made
