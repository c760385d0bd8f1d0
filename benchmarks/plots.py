"""Plots of the results, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .contenders import NAMES, OURS
from .growth import SERIES, Series
from .report import columns, measured, number
from .results import Results, figure, figure_key
from .rows import Row

COLOURS: Final = {OURS[0]: "#1f77b4", OURS[1]: "#8fbce0", "bare": "#555555"}
OTHERS: Final = "#bbbbbb"


def figures_of(plt: Any, count: int, across: int, height: float) -> tuple[Any, Sequence[Any]]:
    """A figure with room for `count` plots, `across` in a line, and those plots."""
    down = -(-count // across)
    drawing, grid = plt.subplots(
        down, across, figsize=(12, height * down), squeeze=False, layout="constrained"
    )
    plots = list(grid.flat)
    for unused in plots[count:]:
        unused.axis("off")
    return drawing, plots


def draw_row(plot: Any, row: Row, results: Results) -> None:
    """One bar for each contender, the first at the top."""
    cells = results.rows[row.name]
    names = [name for name in reversed(columns(results)) if cells.get(name)]
    values = [figure(cells[name], figure_key(row.name)) for name in names]
    bars = plot.barh(names, values, color=[COLOURS.get(name, OTHERS) for name in names])
    plot.bar_label(bars, [number(value) for value in values], padding=3, fontsize=8)
    plot.set_title(f"{row.title} ({row.unit})", fontsize=9)
    plot.tick_params(labelsize=8)
    plot.margins(x=0.15)


def draw_series(plot: Any, series: Series, results: Results) -> None:
    """One curve for each contender."""
    key = figure_key(series.name)
    curves = results.growth[series.name]
    for name in (name for name in NAMES if name in curves):
        colour = COLOURS.get(name, f"C{1 + NAMES.index(name)}")
        points = sorted((int(value), figure(rounds, key)) for value, rounds in curves[name].items())
        plot.plot(*zip(*points, strict=True), marker="o", label=name, color=colour)
    plot.set_xscale("log")
    if series.name in {"size", "fragments"}:
        plot.set_yscale("log")
    else:
        plot.set_ylim(bottom=0)
    plot.set_xlabel(series.axis, fontsize=9)
    plot.set_ylabel("KiB each" if key == "kib" else "µs of CPU per message", fontsize=9)
    plot.set_title(series.title, fontsize=10)
    plot.grid(visible=True, alpha=0.3)
    plot.legend(fontsize=8)


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw what was measured; return the files."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same results make the same files.
    mpl.rcParams.update({"svg.hashsalt": "trio_ws", "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    files = []
    rows, series = measured(results), [each for each in SERIES if each.name in results.growth]
    if rows:
        drawing, plots = figures_of(plt, len(rows), 3, 2.4)
        for row, plot in zip(rows, plots, strict=False):
            draw_row(plot, row, results)
        files.append(save(drawing, directory / "rows.svg"))
    if series:
        drawing, plots = figures_of(plt, len(series), 2, 4)
        for each, plot in zip(series, plots, strict=False):
            draw_series(plot, each, results)
        files.append(save(drawing, directory / "growth.svg"))
    plt.close("all")
    return files


def save(drawing: Any, path: Path) -> Path:
    """Write one drawing."""
    drawing.savefig(path, metadata={"Date": None})
    return path
