from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.serving.key_sets import (
    MAX_AGE_SECONDS,
    MAX_KEY_SET_BYTES,
    MIN_SECONDS_BETWEEN_FETCHES,
    FileKeySet,
    UriKeySet,
    fetch_key_set,
    parse_key_set,
)
from tests.unit.serving.tokens import Issuer

FIRST, SECOND = Issuer(key_id="first"), Issuer(key_id="second")


class Source:
    """Serves key sets to a ``UriKeySet`` and counts how often it is asked."""

    def __init__(self, *documents: bytes | Exception) -> None:
        self._documents = list(documents)
        self.fetched = 0

    def fetch(self, uri: str) -> bytes:
        assert uri == "https://issuer.example/keys"
        self.fetched += 1
        document = self._documents.pop(0) if len(self._documents) > 1 else self._documents[0]
        if isinstance(document, Exception):
            raise document
        return document


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def uri_key_set(source: Source, clock: Clock) -> UriKeySet:
    return UriKeySet("https://issuer.example/keys", clock, source.fetch)


class TestParsing:
    def test_keys_for_signatures_with_an_accepted_algorithm_are_kept(self) -> None:
        shared_secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}
        for_encryption = {**SECOND.jwk, "kid": "encryption", "use": "enc"}
        weak = {**SECOND.jwk, "kid": "weak", "alg": "HS256"}
        broken = {"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "broken"}
        keys = [FIRST.jwk, shared_secret, for_encryption, weak, broken, "text", None, {}]
        parsed = parse_key_set(json.dumps({"keys": keys}).encode())
        assert [key.key_id for key in parsed] == ["first"]

    @pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"null"])
    def test_what_is_no_key_set_is_refused(self, document: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 -- decoding errors are ValueErrors too
            parse_key_set(document)


class TestFile:
    def write(self, path: Path, document: bytes, modified_ns: int) -> None:
        path.write_bytes(document)
        os.utime(path, ns=(modified_ns, modified_ns))

    async def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        self.write(path, FIRST.key_set(), 1)
        keys = FileKeySet(path)
        assert len(await keys.find("first")) == 1
        self.write(path, SECOND.key_set(), 2)
        assert await keys.find("first") == ()
        assert len(await keys.find("second")) == 1
        assert len(await keys.find(None)) == 1

    async def test_an_unchanged_file_is_not_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        self.write(path, FIRST.key_set(), 1)
        keys = FileKeySet(path)
        before = await keys.find("first")
        assert await keys.find("first") == before

    async def test_a_broken_change_leaves_the_keys_of_before(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        self.write(path, FIRST.key_set(), 1)
        keys = FileKeySet(path)
        await keys.find("first")
        self.write(path, b'{"keys": [', 2)
        assert len(await keys.find("first")) == 1
        self.write(path, SECOND.key_set(), 2)
        assert len(await keys.find("second")) == 1

    async def test_a_file_that_appears_later_is_found(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        keys = FileKeySet(path)
        with pytest.raises(UnavailableError):
            await keys.find("first")
        self.write(path, FIRST.key_set(), 1)
        assert len(await keys.find("first")) == 1


class TestUri:
    async def test_what_was_fetched_is_kept(self) -> None:
        source, clock = Source(FIRST.key_set()), Clock()
        keys = uri_key_set(source, clock)
        for _ in range(3):
            assert len(await keys.find("first")) == 1
        assert source.fetched == 1

    async def test_callers_at_once_share_one_fetch(self) -> None:
        source, clock = Source(FIRST.key_set()), Clock()
        keys = uri_key_set(source, clock)
        found = await asyncio.gather(*(keys.find("first") for _ in range(20)))
        assert all(len(each) == 1 for each in found)
        assert source.fetched == 1

    async def test_an_unknown_key_is_looked_for_again_but_not_all_the_time(self) -> None:
        source, clock = Source(FIRST.key_set(), SECOND.key_set()), Clock()
        keys = uri_key_set(source, clock)
        await keys.find("first")
        for _ in range(10):
            assert await keys.find("second") == ()
        assert source.fetched == 1
        clock.now += MIN_SECONDS_BETWEEN_FETCHES
        assert len(await keys.find("second")) == 1
        assert source.fetched == 2

    async def test_a_withdrawn_key_is_forgotten_in_time(self) -> None:
        source, clock = Source(FIRST.key_set(), SECOND.key_set()), Clock()
        keys = uri_key_set(source, clock)
        await keys.find("first")
        clock.now += MAX_AGE_SECONDS
        assert await keys.find("first") == ()

    async def test_while_the_issuer_is_away_the_keys_of_before_stay(self) -> None:
        source, clock = Source(FIRST.key_set(), OSError("away")), Clock()
        keys = uri_key_set(source, clock)
        await keys.find("first")
        clock.now += MAX_AGE_SECONDS
        assert len(await keys.find("first")) == 1
        assert source.fetched == 2

    @pytest.mark.parametrize("failure", [OSError("away"), b"<html>"])
    async def test_an_issuer_that_never_answered_is_unavailable(
        self, failure: bytes | OSError
    ) -> None:
        source, clock = Source(failure, FIRST.key_set()), Clock()
        keys = uri_key_set(source, clock)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="cannot be fetched"):
                await keys.find("first")
        assert source.fetched == 1
        clock.now += MIN_SECONDS_BETWEEN_FETCHES
        assert len(await keys.find("first")) == 1


class TestFetching:
    @contextmanager
    def served(self, document: bytes) -> Iterator[str]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/keys" else 404)
                self.end_headers()
                self.wfile.write(document)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                del code, size

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    async def test_keys_come_over_http(self) -> None:
        with self.served(FIRST.key_set()) as base:
            assert len(await UriKeySet(f"{base}/keys").find("first")) == 1

    def test_an_error_answer_is_no_key_set(self) -> None:
        with self.served(b"") as base, pytest.raises(OSError, match="404"):
            fetch_key_set(f"{base}/missing")

    def test_a_document_without_end_is_refused(self) -> None:
        with (
            self.served(b" " * (MAX_KEY_SET_BYTES + 1)) as base,
            pytest.raises(ValueError, match="larger than"),
        ):
            fetch_key_set(f"{base}/keys")

    @pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://issuer.example/keys", ""])
    def test_other_schemes_are_refused(self, uri: str) -> None:
        with pytest.raises(ValueError, match="neither https nor http"):
            fetch_key_set(uri)
