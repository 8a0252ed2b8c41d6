"""No RPC of the contracts shows or changes anything of another organization.

Every method of the descriptor set is called with everything that another organization has, in every
field that names something. What comes of it must be just what comes of a name that nobody has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent_executor.serving.multiplex_frames import methods_of
from tests.e2e.crossing.probing import Outcome, Probe, Stranger, frame_outcomes
from tests.e2e.crossing.requests import MADE_UP, places
from tests.e2e.crossing.world import IDEMPOTENCY_KEY, Furnished, Organization, tool_call
from tests.e2e.rpc import METHODS, Method
from tests.platforms import RunningPlatform

# Why a method is not called here.
NOT_PROBED = {
    "MonitorService/StreamActivity": "it never ends; `test_monitor` watches with another's names",
    "Authorization/Check": "only the gateway calls it, and it names nothing but credentials",
    "RateLimitService/ShouldRateLimit": "only the gateway calls it, and it tells nothing but counts",
    "TokenService/ExchangeApiKey": "it needs no caller, and a key names nothing but its own user",
    "ToolCallService/StreamToolCalls": "its frames are probed below",
    "UsageService/StreamUsage": "its frames are probed below",
}
# Two organizations may have a user of one name, so that a name that nobody has is another matter;
# and what comes of a page token that nobody gave out is an error of its own.
COMPARED_NOT = {"user_id", "page_token"}
# What may come of a name that nobody has. Any other code would mean that the probe tried nothing.
EXPECTED_CODES = {"OK", "NOT_FOUND"}
# But for these, and why.
OTHER_CODES = {
    "RateCardService/CreateRateCard model": "a card is for a model or for a tool",
    "RateCardService/ResolveRateCard model": "a model without a price is an error of its own",
    "UsageService/ReserveUsage model": "a model without a price is an error of its own",
    "UsageService/SettleUsage model": "a model without a price is an error of its own",
    "ToolService/CreateTool name": "the tool's source has its name, too",
    "UsageService/RecordUsage entries.model": "a model's call needs its tokens",
}
CREATING = (
    *("Create", "Start", "Execute", "Test", "Stream"),
    *("Put", "Add", "Set", "Record", "Reserve", "Settle"),
)
_MADE_IDS = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def furnished(platform: RunningPlatform) -> Iterator[Furnished]:
    with ExitStack() as stack:
        yield Furnished(platform, stack)


@pytest.fixture(scope="module")
def other(furnished: Furnished) -> Organization:
    """Whose things are asked for; no test changes them."""
    return furnished.organization()


@pytest.fixture
def own(furnished: Furnished) -> Organization:
    """Who asks for them."""
    return furnished.organization()


def probed() -> list[Method]:
    return [method for name, method in METHODS.items() if name not in NOT_PROBED]


def makes_something(probe: Probe) -> bool:
    return probe.what in MADE_UP or probe.method.descriptor.name.startswith(CREATING)


def faults(probe: Probe, theirs: Outcome, nobodys: Outcome) -> Iterator[str]:
    """Yields in what the name of another's is not just a name that nobody has."""
    if probe.place.name in COMPARED_NOT:
        return
    if probe.compared(theirs) != probe.compared(nobodys):
        yield f"{probe} is told apart: {theirs} from {nobodys}"
    # What was made up for one method cannot be made again by another.
    codes = EXPECTED_CODES | ({"ALREADY_EXISTS"} if probe.what in MADE_UP else set())
    if nobodys.code not in codes and probe.what not in OTHER_CODES:
        yield f"{probe} tries nothing: {nobodys}"


def test_nothing_of_another_organization_is_seen_or_changed(
    other: Organization, own: Organization
) -> None:
    stranger = Stranger(own, other)
    before = other.exported()
    wrong: list[str] = []
    probes = [probe for method in probed() for probe in stranger.probes(method)]
    # Whoever makes something of another's name has one of that name himself from then on.
    for probe in sorted(probes, key=makes_something):
        theirs = stranger.outcome(probe.method, probe.theirs)
        nobodys = stranger.outcome(probe.method, probe.nobodys)
        wrong += faults(probe, theirs, nobodys)
        if leaks := stranger.leaks(theirs):
            wrong.append(f"{probe} shows {leaks}: {theirs}")
    for name, answers in own.exported().items():
        content = b"".join(answers)
        for sent in sorted(stranger.sent, key=len, reverse=True):
            content = content.replace(sent.encode(), b"")
        wrong += [f"{name} shows {each}" for each in other.secrets() if each.encode() in content]
    after = other.exported()
    wrong += [f"{name} is changed" for name in before if before[name] != after[name]]
    assert not wrong, "\n".join(wrong)
    # The record of its tool call is there as well.
    request = tool_call(other)
    (again,) = other.call(METHODS["ToolCallService/ExecuteToolCall"], request)
    assert again.success


@pytest.mark.parametrize("name", ["ToolCallService/StreamToolCalls", "UsageService/StreamUsage"])
def test_nothing_is_seen_or_changed_by_frames_of_a_stream(
    platform: RunningPlatform, other: Organization, own: Organization, name: str
) -> None:
    stream, stranger, before = METHODS[name], Stranger(own, other), other.exported()
    service = stream.descriptor.containing_service.name
    # A frame is called as the request of the unary method that does the same.
    unary = {
        field: METHODS[f"{service}/{method.rpc.rpartition('/')[2]}"]
        for field, method in methods_of(type(stream.request())).items()
    }
    probes = [
        (field, probe) for field, method in unary.items() for probe in stranger.probes(method)
    ]
    for field, probe in sorted(probes, key=lambda each: makes_something(each[1])):
        theirs, nobodys = frame_outcomes(
            platform,
            stream,
            [(field, probe.theirs), (field, probe.nobodys)],
            f"organization-{own.mark}",
        )
        assert not list(faults(probe, theirs, nobodys))
        assert not stranger.leaks(theirs)
    assert other.exported() == before


def test_an_idempotency_key_is_an_organizations_own(other: Organization, own: Organization) -> None:
    key = ("idempotency-key", IDEMPOTENCY_KEY)
    for method in probed():
        if not method.descriptor.name.startswith(CREATING):
            continue
        theirs, ours = (
            Stranger(each, each).outcome(method, each.request(method), key) for each in (other, own)
        )
        assert ours.code == theirs.code, (method.name, ours)
        ids = (set(_MADE_IDS.findall(outcome.content)) for outcome in (theirs, ours))
        assert not set.intersection(*ids), method.name


def test_every_method_is_called(other: Organization) -> None:
    assert NOT_PROBED.keys() <= METHODS.keys()
    for method in probed():
        for place in places(method.descriptor.input_type):
            # Whoever adds a field that names something says what an organization has of it.
            assert place.name == "page_token" or other.of(method, place), str(place)
