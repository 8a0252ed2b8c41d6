"""Amounts, counts, bars and sparklines as they stand in a table on a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

NANO_USD_PER_USD = 1_000_000_000
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "._-=+*%#"
# Nothing is wrapped or cut off where no person looks: another program reads it line by line.
PLAIN_WIDTH = 10_000
NARROW_WIDTH = 72

_MAX_DECIMALS = 6
_END_OF_LINE = ord("\n")
_CONTROL_CHARACTERS = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if code != _END_OF_LINE
}


class OutputConsole(Console):
    """A console that shows text and never lets it command the terminal.

    Names come from whoever makes an agent or records usage; one may hold what clears the screen.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yields the parts of what is shown, without control characters but for the end of a line."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                text = segment.text.translate(_CONTROL_CHARACTERS)
                yield Segment(text, segment.style)
            else:
                yield segment


def output_console() -> Console:
    """Returns where a command shows its answer: plain and unwrapped if that is no terminal."""
    # A name that the terminal cannot write is no reason to show nothing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if sys.stdout.isatty():
        return OutputConsole()
    return OutputConsole(width=PLAIN_WIDTH, no_color=True)


def new_table(*, title: str = "") -> Table:
    """Returns an empty table."""
    return Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        show_edge=False,
    )


def usd(nano_usd: int, decimals: int = _MAX_DECIMALS) -> str:
    """Returns an amount in dollars, rounded half up in its size."""
    unit = 10 ** (9 - decimals)
    units = (2 * abs(nano_usd) + unit) // (2 * unit)
    whole, part = divmod(units, 10**decimals)
    sign = "-" if nano_usd < 0 and units else ""
    return f"{sign}${whole:,}.{part:0{decimals}d}"


def decimals_for(amounts: Sequence[int]) -> int:
    """Returns with how many decimals amounts of a table are shown: enough for the largest one.

    Cents from 100 dollars on, hundredths of a cent from a dollar on, below that millionths.
    """
    largest = max(map(abs, amounts), default=0)
    if largest >= 100 * NANO_USD_PER_USD:
        return 2
    return 4 if largest >= NANO_USD_PER_USD else _MAX_DECIMALS


def share(part: int, whole: int) -> str:
    """Returns a part in percent with one decimal; nothing where a share has no meaning."""
    if whole <= 0 or part < 0:
        return ""
    tenths = (2_000 * part + whole) // (2 * whole)
    return f"{tenths // 10}.{tenths % 10} %"


def sparkline(values: Sequence[int], width: int, blocks: str = BLOCKS) -> str:
    """Draws how values go up and down, the highest one full; no value at all is a space.

    Args:
        values: One per bucket of time.
        width: How many characters at most; neighbours are added up to fit.
        blocks: From the lowest to the highest.
    """
    fitted = _fitted(values, width)
    highest = max(fitted, default=0)
    if highest <= 0:
        return " " * len(fitted)
    last = len(blocks) - 1
    return "".join(
        blocks[min(last, value * len(blocks) // highest)] if value > 0 else " " for value in fitted
    )


def _fitted(values: Sequence[int], width: int) -> list[int]:
    per_character = -(-len(values) // max(width, 1))
    if per_character <= 1:
        return list(values)
    return [
        sum(values[start : start + per_character]) for start in range(0, len(values), per_character)
    ]


def stacked_bar(parts: Sequence[int], whole: int, width: int, marks: str) -> str:
    """Draws parts of a whole one after the other; a part that is there has one mark at least.

    Args:
        parts: Each drawn with its mark.
        whole: The full width. What the parts exceed it by is not drawn.
        width: In characters.
        marks: One per part, and a last one for what is left.
    """
    drawn = ""
    for part, mark in zip(parts, marks, strict=False):
        length = width if whole <= 0 else part * width // whole
        if part > 0:
            drawn += mark * max(1, length)
    return drawn[:width].ljust(width, marks[-1])


def can_draw(console: Console) -> bool:
    """Tells whether block characters can be written there."""
    try:
        BLOCKS.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
