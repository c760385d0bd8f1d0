"""Tables of the results, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .contenders import NAMES, OURS, ZLIB
from .growth import SERIES
from .results import Results, Verdict, figure, figure_key, verdicts
from .rows import ROWS, Row

Table = list[list[str]]


def number(value: float) -> str:
    """A figure with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def measured(results: Results) -> list[Row]:
    """The rows that were measured."""
    return [row for row in ROWS if row.name in results.rows]


def columns(results: Results) -> list[str]:
    """The contenders that were measured, in their order."""
    seen = {name for row in results.rows.values() for name in row}
    return [name for name in (*NAMES, ZLIB) if name in seen]


def figure_table(results: Results) -> Table:
    """Row by row what each contender takes."""
    names = columns(results)
    table = [["work", "unit", *names]]
    for row in measured(results):
        cells = results.rows[row.name]
        key = figure_key(row.name)
        values = [number(figure(cells[name], key)) if cells.get(name) else "-" for name in names]
        table.append([row.title, row.unit, *values])
    return table


def detail_table(results: Results) -> Table:
    """For each row and contender the throughput, the latency, and the spread of the figure."""
    table = [["work", "contender", "figure", "lowest", "highest", "per second", "p50 µs", "p99 µs"]]
    for row in measured(results):
        key = figure_key(row.name)
        for name in columns(results):
            rounds = results.rows[row.name].get(name)
            if not rounds:
                continue
            values = [each[key] for each in rounds]
            line = [row.title, name, *map(number, (figure(rounds, key), min(values), max(values)))]
            if row.kind != "idle":
                line += [number(figure(rounds, each)) for each in ("rate", "p50", "p99")]
            table.append(line + ["-"] * (len(table[0]) - len(line)))
    return table


def growth_tables(results: Results) -> Iterable[tuple[str, Table]]:
    """For each series its title, and value by value what each contender takes."""
    for series in SERIES:
        curves = results.growth.get(series.name, {})
        names = [name for name in NAMES if name in curves]
        if not names:
            continue
        key = figure_key(series.name)
        table = [[series.axis, *names]]
        for value in map(str, series.values):
            cells = (curves[name].get(value) for name in names)
            table.append([value, *(number(figure(cell, key)) if cell else "-" for cell in cells)])
        unit = "KiB each" if key == "kib" else "µs of CPU time per message"
        yield f"{series.title}: {unit}", table


def outcome(verdict: Verdict) -> str:
    """A verdict in a word."""
    return {True: "ok", False: "missed", None: "not measured"}[verdict.met]


def target_table(results: Results) -> Table:
    """Each target, and how far both flavours are from it."""
    table = [["work", "against", "at most", OURS[0], "", OURS[1], ""]]
    titles = {row.name: row.title for row in ROWS}
    for pair in zip(*(verdicts(results, who) for who in OURS), strict=True):
        target = pair[0].target
        if not any(verdict.ratio for verdict in pair):
            continue
        against = str(pair[0].against)
        absent = [name for name in target.against if not results.rows[target.row].get(name)]
        if absent:
            against += f" ({', '.join(absent)} not measured)"
        line = [titles[target.row], against, f"{target.bound:g}"]
        for verdict in pair:
            line += ["-" if verdict.ratio is None else f"{verdict.ratio:.3g}", outcome(verdict)]
        table.append(line)
    return table


def text_table(table: Sequence[Sequence[str]]) -> str:
    """A table in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def problems(results: Results) -> Iterable[str]:
    """Who was left out, and what failed."""
    for name, why in results.left_out.items():
        yield f"{name} is left out: {why}"
    for row, failed in results.failed.items():
        for name, why in failed.items():
            yield f"{row}, {name}: {why}"


def report(results: Results) -> str:
    """All of it."""
    parts = ["\n".join(f"{name}: {value}" for name, value in results.conditions.items())]
    if results.rows:
        parts.append(
            "CPU time of the measured process per message (of the server; in the client rows, of "
            "the client),\nor its memory per connection:\n\n" + text_table(figure_table(results))
        )
        parts.append(text_table(detail_table(results)))
        targets = target_table(results)
        if len(targets) > 1:
            parts.append("Targets, as ratios of this run:\n\n" + text_table(targets))
    parts += [f"{title}\n\n{text_table(table)}" for title, table in growth_tables(results)]
    parts.extend(problems(results))
    return "\n\n".join(parts)
