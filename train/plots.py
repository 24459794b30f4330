"""The course of a training as a picture: loss and accuracy by epoch, as SVG that any browser shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 420, 300, 60, 40, 40
COLOURS = {"training": "#3566a8", "validation": "#c2572b"}
TICKS = 4


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes, with a line for each name; a line without points is left out."""

    title: str
    lines: dict[str, list[float]]

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value shown."""
        values = [value for line in self.lines.values() for value in line]
        low, high = min(values), max(values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)


def curves(title: str, history: Sequence[dict[str, float]]) -> str:
    """Loss, and accuracy where it was evaluated, over the epochs of a training.

    >>> picture = curves("demo", [{"epoch": 1, "training_loss": 2.0}, {"epoch": 2, "training_loss": 1.0}])
    >>> picture.startswith("<svg") and picture.count("<polyline") == 1
    True
    """
    panels = [
        Panel("loss", _lines(history, "loss")),
        Panel("accuracy, per cent", {"validation": _column(history, "validation_accuracy", 100)}),
    ]
    shown = [panel for panel in panels if any(panel.lines.values())]
    drawn = "".join(_panel(panel, number * WIDTH) for number, panel in enumerate(shown))
    size = f'width="{WIDTH * len(shown)}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>{drawn}</svg>\n'
    )


def _lines(history: Sequence[dict[str, float]], metric: str) -> dict[str, list[float]]:
    return {name: _column(history, f"{name}_{metric}") for name in COLOURS}


def _column(history: Sequence[dict[str, float]], name: str, factor: float = 1) -> list[float]:
    return [factor * row[name] for row in history if name in row]


def _panel(panel: Panel, left: int) -> str:
    """Axes with ticks, lines, and their names."""
    longest = max(len(line) for line in panel.lines.values())
    lines = "".join(_line(panel, name, left, longest) for name, line in panel.lines.items() if line)
    middle = left + WIDTH // 2
    axis = f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">epoch (1 to {longest})</text>'
    heading = f'<text x="{left + LEFT}" y="{TOP - 6}">{panel.title}</text>'
    return heading + "".join(_tick(panel, left, number) for number in range(TICKS + 1)) + lines + axis


def _tick(panel: Panel, left: int, number: int) -> str:
    low, high = panel.limits
    value = low + (high - low) * number / TICKS
    y = _y(value, panel)
    return (
        f'<line x1="{left + LEFT}" x2="{left + WIDTH - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        f'<text x="{left + LEFT - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{value:.3g}</text>'
    )


def _line(panel: Panel, name: str, left: int, longest: int) -> str:
    """A line, and its name at its right end."""
    values = panel.lines[name]
    across = (WIDTH - LEFT - 20) / max(1, longest - 1)
    points = [(left + LEFT + across * at, _y(value, panel)) for at, value in enumerate(values)]
    x, y = points[-1]
    path = " ".join(f"{x:.1f},{y}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y}" r="3" fill="{COLOURS[name]}"/>'
        f'<text x="{x - 4:.1f}" y="{y - 7}" text-anchor="end" fill="{COLOURS[name]}">{name}</text>'
    )


def _y(value: float, panel: Panel) -> float:
    low, high = panel.limits
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)
