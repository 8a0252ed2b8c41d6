"""What the ledger's commands show, on terminals of several widths and where there is none."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from agent_executor.cli.budgets_report import show_budgets, show_events
from agent_executor.cli.figures import (
    PLAIN_WIDTH,
    decimals_for,
    share,
    sparkline,
    stacked_bar,
    usd,
)
from agent_executor.cli.rate_cards_report import show_card, show_cards, show_example
from agent_executor.cli.run_cost_report import show_run_cost
from agent_executor.cli.suggestions_report import show_suggestions
from agent_executor.cli.usage_report import CostOverTime, UsageTable, show_usage
from tests.unit.cli.ledger_answers import (
    CARD,
    EVENTS,
    RUN_COST,
    SUGGESTIONS,
    TOOL_CARD,
    budget,
    summary,
)

DAYS = [f"2026-11-{day:02d}" for day in range(20, 28)]
USAGE = UsageTable(
    groups=("agent", "model"),
    rows=[
        summary(3_000_000_000, 12, agent_id="agent_support", model="claude-sonnet-5"),
        summary(1_000_000_000, 4, agent_id="agent_" + "x" * 40, model="claude-haiku-4-5"),
    ],
    total=summary(4_000_000_000, 16),
    has_more=True,
    start="2026-11-20T00:00:00Z",
    end="2026-11-28T00:00:00Z",
    over_time=CostOverTime(
        "day",
        DAYS,
        [
            summary(
                1_000_000_000 * number,
                agent_id="agent_support",
                model="claude-sonnet-5",
                day=day,
            )
            for number, day in ((1, DAYS[0]), (2, DAYS[-1]))
        ],
    ),
)
BUDGETS = [
    budget("everyone", 1_000, 500, 250, time_zone="Europe/Berlin"),
    budget("ada", 100, 110, 0, user_id="ada", window="total", resets_at=None),
]
REPORTS: dict[str, Callable[[Console], None]] = {
    "usage": lambda console: show_usage(USAGE, console),
    "run": lambda console: show_run_cost(RUN_COST, console),
    "budgets": lambda console: show_budgets(BUDGETS, console),
    "no budgets": lambda console: show_budgets([], console),
    "events": lambda console: show_events(EVENTS, console),
    "cards": lambda console: show_cards([CARD, TOOL_CARD], console),
    "card": lambda console: show_card(CARD, console),
    "suggestions": lambda console: show_suggestions(SUGGESTIONS, console),
}


def shown(
    show: Callable[[Console], None], width: int = 120, *, encoding: str = "utf-8"
) -> list[str]:
    """Returns the lines that are printed on a terminal of a width."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(Console(file=file, width=width, color_system=None))
    file.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def test_usage_is_a_row_per_group_with_its_cost_over_time() -> None:
    first, *table = shown(REPORTS["usage"], 140)
    assert first == "2026-11-20 00:00 UTC to 2026-11-28 00:00 UTC"
    words = [" ".join(line.split()) for line in table]
    assert words[0] == "agent model entries input output cost share cost by day"
    # Half as much on the first day as on the last, and nothing between.
    assert words[2] == "agent_support claude-sonnet-5 12 1,250 300 $3.0000 75.0 % ▅ █"
    assert table[2].endswith("▅      █")
    assert words[3] == f"agent_{'x' * 40} claude-haiku-4-5 4 1,250 300 $1.0000 25.0 %"
    assert words[-2] == "total 16 1,250 300 $4.0000 100.0 %"
    assert words[-1] == "There are more rows; show them with --limit."


def test_usage_at_80_columns_has_every_column_and_folds_names() -> None:
    lines = shown(REPORTS["usage"], 80)
    text = "\n".join(lines)
    for heading in ("agent", "entries", "output", "cost", "share", "cost by day"):
        assert heading in text
    # Nothing of a name is cut off, so that it can be put together again.
    assert text.count("x") == 40


def test_a_narrow_terminal_has_what_matters_most() -> None:
    lines = shown(REPORTS["usage"], 44)
    assert " ".join(lines[1].split()) == "agent model entries cost"


def test_nothing_used_is_said_so() -> None:
    empty = UsageTable(
        groups=("agent",), rows=[], total=summary(), has_more=False, start="", end=USAGE.end
    )
    assert shown(lambda console: show_usage(empty, console)) == [
        "Nothing was used from the beginning to 2026-11-28 00:00 UTC."
    ]


def test_usage_without_a_group_s_name_is_a_dash() -> None:
    rows = [summary(5, tool_name="")]
    table = UsageTable(
        groups=("tool",), rows=rows, total=rows[0], has_more=False, start="", end=USAGE.end
    )
    assert any(line.startswith("- ") for line in shown(lambda console: show_usage(table, console)))


def test_a_run_is_shown_step_by_step_with_what_went_wrong() -> None:
    lines = [" ".join(line.split()) for line in shown(REPORTS["run"], 140)]
    assert lines[0] == "run run_1"
    assert lines[3:7] == [
        "0.0 s claude-sonnet-5 1,000 200 $0.004000 estimated, settled after its hold had ended",
        "2.0 s claude-sonnet-5 1,000 200 $0.004000 attempt 2",
        "3.0 s tool call search $0.010000",
        "4.0 s correction claude-sonnet-5 1,000 200 -$0.001000 of call-1, the provider's own count",
    ]
    assert "call-3 $0.009000 cancelled or failed before it was made" in lines
    assert "call-4 $0.009000 under way" in lines
    assert not any(line.startswith("call-1 ") for line in lines)
    assert lines[-1] == (
        "$0.017000 in all, 2,400 tokens; $0.003000 of it is estimated, for the answer was lost; "
        "$0.009000 is held now."
    )


def test_a_run_without_entries_is_what_was_held_for_it() -> None:
    cost = RUN_COST | {"entries": [], "total": summary(0, tokens_used="0")}
    lines = shown(lambda console: show_run_cost(cost, console))
    assert lines[0] == "run run_1"
    assert any("call-4" in line for line in lines)


def test_a_budget_has_a_bar_of_what_is_spent_held_and_left() -> None:
    lines = shown(REPORTS["budgets"], 140)
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "budget of limit spent held left spent █ held ▒ left ░ resets (UTC)"
    assert words[2] == (
        "everyone everyone per month (Europe/Berlin) $10.0000 $5.0000 $2.5000 $2.5000 "
        "██████████▒▒▒▒▒░░░░░ 2026-12-01 00:00"
    )
    assert words[3] == f"ada user ada in all $1.0000 $1.1000 $0.0000 -$0.1000 {'█' * 20}"


def test_what_happened_to_budgets() -> None:
    words = [" ".join(line.split()) for line in shown(REPORTS["events"], 140)]
    assert words[2] == (
        "2026-11-27 10:00:00 everyone overrun $1.0000 $1.5000 $0.0000 the limit was lowered"
    )
    assert words[3] == "2026-11-26 10:00:00 everyone reached 80 % $10.0000 $8.0000 $0.0000 call-1"
    assert shown(lambda console: show_events([], console)) == [
        "Nothing has happened to any budget."
    ]


def test_cards_are_shown_with_their_rates_and_fees() -> None:
    words = [" ".join(line.split()) for line in shown(REPORTS["cards"], 160)]
    assert words[2] == (
        "organization/claude-sonnet-5@0123456789abcdef "
        "1.6:8:0.16:0.16:0.16 per million tokens and 1 tier 2026-11-01 00:00"
    )
    assert words[3] == (
        "organization/search@0123456789abcdef $0.01 per call 2026-11-01 00:00 withdrawn"
    )
    assert shown(lambda console: show_cards([], console)) == [
        "There are no prices of your own: the price list holds."
    ]


def test_one_card_is_shown_with_its_tiers() -> None:
    words = [" ".join(line.split()) for line in shown(REPORTS["card"])]
    assert words[0] == "organization/claude-sonnet-5@0123456789abcdef"
    assert words[3] == "below all tiers 1.6 8 0.16 0.16 0.16"
    assert words[4] == "above 200,000 input tokens 3.2 12 3.2 3.2 3.2"
    assert "$0.01 per call" in shown(lambda console: show_card(TOOL_CARD, console))
    example = shown(lambda console: show_example({"cost_nano_usd": "1234000"}, 1_000, 2, console))
    assert example == ["1,000 input and 2 output tokens cost $0.001234."]


def test_suggestions_are_paragraphs_the_largest_saving_first() -> None:
    lines = shown(REPORTS["suggestions"], 80)
    assert lines[0] == "$13.67 a month ($12.56 to $14.78)  cheaper model  agent_support"
    assert "  runs: run_0, run_1, run_2 and 785 more" in lines
    assert "$0.02 a month ($0.01 to $0.03)  tool result cache  search" in lines
    assert "  → Let the tool's results be kept for an hour." in lines
    assert lines[-2].startswith("$22.1600 was spent from 2026-10-28 to 2026-11-27.")
    none = SUGGESTIONS | {"suggestions": []}
    assert shown(lambda console: show_suggestions(none, console)) == [
        "Nothing to suggest. $22.1600 was spent from 2026-10-28 to 2026-11-27."
    ]


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(report: str, width: int) -> None:
    assert max(map(len, shown(REPORTS[report], width))) <= width


@pytest.mark.parametrize("report", REPORTS)
def test_where_no_person_looks_nothing_is_wrapped(report: str) -> None:
    lines = shown(REPORTS[report], PLAIN_WIDTH)
    assert max(map(len, lines)) < 400


@pytest.mark.parametrize("report", ["usage", "budgets"])
def test_what_a_terminal_cannot_draw_is_drawn_in_ascii(report: str) -> None:
    assert shown(REPORTS[report], 140, encoding="ascii")


@pytest.mark.parametrize(
    ("nano_usd", "decimals", "text"),
    [
        (0, 2, "$0.00"),
        (1_234_567_891, 6, "$1.234568"),
        (1_234_567_891_234_567, 2, "$1,234,567.89"),
        (-5_000_000, 2, "-$0.01"),
        (-4_999_999, 2, "$0.00"),
        (1, 9, "$0.000000001"),
    ],
)
def test_amounts_are_rounded_for_the_eye(nano_usd: int, decimals: int, text: str) -> None:
    assert usd(nano_usd, decimals) == text


def test_decimals_go_by_the_largest_amount() -> None:
    assert [decimals_for([amount]) for amount in (10**11, -(10**11), 10**9, 10**9 - 1)] == [
        *(2, 2, 4, 6)
    ]
    assert decimals_for([]) == 6


def test_shares_have_one_decimal_and_no_meaning_without_a_whole() -> None:
    assert (share(1, 3), share(1, 1), share(0, 5)) == ("33.3 %", "100.0 %", "0.0 %")
    assert (share(1, 0), share(-1, 5)) == ("", "")


def test_a_sparkline_is_full_at_its_highest_and_empty_where_nothing_was() -> None:
    assert sparkline([0, 1, 50, 100], 10) == " ▁▅█"
    assert sparkline([1, 1, 2, 2, 4, 4], 3) == "▃▅█"
    assert sparkline([], 5) == ""
    assert sparkline([0, 0], 5) == "  "
    assert sparkline([3, -2], 5) == "█ "


def test_a_bar_shows_every_part_that_is_there() -> None:
    assert stacked_bar((50, 25), 100, 8, "#=.") == "####==.."
    assert stacked_bar((1, 0), 1_000_000, 8, "#=.") == "#......."
    assert stacked_bar((300, 5), 100, 8, "#=.") == "########"
    assert stacked_bar((0, 0), 0, 8, "#=.") == "........"
    assert stacked_bar((1, 0), 0, 8, "#=.") == "########"
