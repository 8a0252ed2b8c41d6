from __future__ import annotations

from agent_executor.serving.verified_cache import VerifiedCache


def test_an_entry_ends_at_its_time() -> None:
    cache: VerifiedCache[str, int] = VerifiedCache(10)
    cache.put("a", 1, ends_at=100.0)
    assert cache.get("a", now=99.9) == 1
    assert cache.get("a", now=100.0) is None
    assert len(cache) == 0


def test_the_oldest_makes_room_and_no_more_than_the_limit_is_kept() -> None:
    cache: VerifiedCache[int, int] = VerifiedCache(3)
    for number in range(5):
        cache.put(number, number, ends_at=100.0)
    assert len(cache) == 3
    assert [cache.get(number, now=0.0) for number in range(5)] == [None, None, 2, 3, 4]


def test_putting_again_replaces_and_renews() -> None:
    cache: VerifiedCache[str, int] = VerifiedCache(2)
    cache.put("a", 1, ends_at=100.0)
    cache.put("b", 2, ends_at=100.0)
    cache.put("a", 3, ends_at=200.0)
    cache.put("c", 4, ends_at=100.0)
    assert cache.get("b", now=0.0) is None
    assert cache.get("a", now=150.0) == 3
