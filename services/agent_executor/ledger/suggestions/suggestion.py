"""A way to spend less, as it is told: what was found, what to change, and what that saves."""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.ledger.money import PICO_USD_PER_NANO_USD, NanoUsd

Kind: TypeAlias = Literal[
    "cheaper_model",
    "prompt_caching",
    "tool_result_cache",
    "batch",
    "history_trimming",
    "tier_cliff",
]

MONTH_DAYS: Final = 30
MAX_EVIDENCE_RUNS: Final = 10
# Less is not worth anyone's time: a cent a month.
MIN_SAVING_NANO_USD: Final = 10_000_000

_DAY_MS: Final = 86_400_000
_ID_HEX_DIGITS: Final = 16


class Saving(msgspec.Struct, frozen=True):
    """What would be saved, as a range, in nano-US-dollars.

    Attributes:
        low_nano_usd: If the assumptions that the finding states turn out badly.
        expected_nano_usd: Midway between the two.
        high_nano_usd: As measured.
    """

    low_nano_usd: NanoUsd
    expected_nano_usd: NanoUsd
    high_nano_usd: NanoUsd

    @classmethod
    def between(cls, low_pico_usd: int, high_pico_usd: int, spent_nano_usd: int) -> Saving:
        """Returns the range between two amounts, rounded down, and never more than was spent.

        Args:
            low_pico_usd: The lower one, in pico-US-dollars.
            high_pico_usd: The higher one, in pico-US-dollars.
            spent_nano_usd: What was spent on that from which it is saved.
        """
        high = min(high_pico_usd // PICO_USD_PER_NANO_USD, spent_nano_usd)
        low = min(low_pico_usd // PICO_USD_PER_NANO_USD, high)
        return cls(NanoUsd(low), NanoUsd((low + high) // 2), NanoUsd(high))

    def per_month(self, period_ms: int) -> Saving:
        """Returns the saving of 30 days at the rate of a period of so many milliseconds."""
        month_ms = MONTH_DAYS * _DAY_MS
        return Saving(
            *(NanoUsd(amount * month_ms // period_ms) for amount in msgspec.structs.astuple(self))
        )

    @property
    def is_worth_telling(self) -> bool:
        """Whether it saves something even if things turn out badly, and at least a cent."""
        return self.low_nano_usd > 0 and self.expected_nano_usd >= MIN_SAVING_NANO_USD


class Subject(msgspec.Struct, frozen=True, order=True):
    """What a suggestion is about; what does not concern it is empty.

    Attributes:
        part: What tells it from others about the same, for example a tier or a prompt's digest.
    """

    agent_id: str = ""
    model: str = ""
    tool_name: str = ""
    part: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """The runs in which it was found.

    Attributes:
        run_ids: Of more than 10 the most expensive, highest cost first.
        run_count: How many there are in all.
    """

    run_ids: tuple[str, ...] = ()
    run_count: int = 0


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One way to spend less.

    Attributes:
        kind: What sort of change.
        subject: Whom and what it concerns.
        finding: One sentence that says what was found.
        change: One or two sentences that say what to change.
        saving: For the period looked at, until it is told; then for 30 days.
        figures: The figures behind it, by name with the unit last.
        proposed: The model that is proposed; empty if it is none.
        evidence: Where it was found.
    """

    kind: Kind
    subject: Subject
    finding: str
    change: str
    saving: Saving
    figures: dict[str, float]
    proposed: str = ""
    evidence: Evidence = Evidence()

    @property
    def id(self) -> str:
        """Made from what it suggests: the same suggestion has the same id, whatever it saves."""
        content = msgspec.json.encode((self.kind, self.subject, self.proposed))
        return f"{self.kind}-{hashlib.sha256(content).hexdigest()[:_ID_HEX_DIGITS]}"
