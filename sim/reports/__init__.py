"""What a run is told as: each report reads the tables of a run, never the engine.

A report is one file with `render(results, out)` and one line here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sim.reports import chrome_trace, html, terminal

REPORTS: Mapping[str, Callable[[Any, Any], None]] = {
    "terminal": terminal.render,
    "html": html.render,
    "chrome_trace": chrome_trace.render,
}
