"""A trace as a waterfall: who did what, within what, when and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from agent_executor.cli.otlp_receiver import ReceivedSpan

BAR_WIDTH = 36
_NANOS_PER_MILLISECOND = 1_000_000


def is_whole(spans: Sequence[ReceivedSpan]) -> bool:
    """Whether a trace has one root and no span whose parent is missing."""
    known = {span.span_id for span in spans}
    orphans = [span for span in spans if span.parent_span_id not in known]
    return len(orphans) == 1 and not orphans[0].parent_span_id


def in_tree_order(spans: Sequence[ReceivedSpan]) -> Iterator[tuple[int, ReceivedSpan]]:
    """Yields each span with its depth, parents before children and siblings by start."""
    known = {span.span_id for span in spans}
    by_start = sorted(spans, key=lambda span: span.start_unix_nanos)
    children: dict[str, list[ReceivedSpan]] = {}
    for span in by_start:
        parent = span.parent_span_id if span.parent_span_id in known else ""
        children.setdefault(parent, []).append(span)

    def below(parent: str, depth: int) -> Iterator[tuple[int, ReceivedSpan]]:
        for span in children.get(parent, ()):
            yield depth, span
            yield from below(span.span_id, depth + 1)

    return below("", 0)


def timeline(spans: Sequence[ReceivedSpan]) -> Table:
    """Draws the spans of one trace, at least one."""
    start = min(span.start_unix_nanos for span in spans)
    end = max(span.end_unix_nanos for span in spans)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("service", no_wrap=True, style="cyan")
    table.add_column("span", no_wrap=True)
    table.add_column("start ms", justify="right")
    table.add_column("ms", justify="right")
    table.add_column("timeline", no_wrap=True, style="green")
    for depth, span in in_tree_order(spans):
        table.add_row(
            span.service,
            Text("  " * depth + _short(span.name)),
            _milliseconds(span.start_unix_nanos - start),
            _milliseconds(span.end_unix_nanos - span.start_unix_nanos),
            bar(span.start_unix_nanos - start, span.end_unix_nanos - start, end - start),
        )
    return table


def bar(start: int, end: int, total: int) -> str:
    """Draws when something was, within a total that begins at 0; never invisible."""
    scale = BAR_WIDTH / max(total, 1)
    first = min(int(start * scale), BAR_WIDTH - 1)
    length = max(1, min(round((end - start) * scale), BAR_WIDTH - first))
    return (" " * first + "━" * length).ljust(BAR_WIDTH)


def _short(name: str) -> str:
    """Leaves only the method of what is named by its full gRPC path."""
    return name.rpartition("/")[2] if "agent_executor.api." in name else name


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / _NANOS_PER_MILLISECOND:.1f}"
