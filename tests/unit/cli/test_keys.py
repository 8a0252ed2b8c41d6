from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from agent_executor.cli.issuer import TokenClaims, issue_token, new_private_key, public_jwk
from agent_executor.cli.keys import ensure_keys
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.key_sets import FileKeySet
from agent_executor.serving.settings import LOCAL_ISSUER


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    keys = ensure_keys(data_dir)
    files = (keys.issuer, keys.token, keys.jwks, keys.service)
    contents = [path.read_bytes() for path in files]
    assert [mode(path) for path in files] == [0o600] * len(files)
    assert [mode(path) for path in (data_dir, keys.folder)] == [0o700] * 2

    assert ensure_keys(data_dir) == keys
    assert [path.read_bytes() for path in files] == contents
    assert set(keys.folder.iterdir()) == set(files)
    assert {path.name for path in files} == {"issuer.pem", "token.pem", "jwks.json", "service.key"}


def test_many_at_once_make_one_set_of_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ensure_keys(tmp_path).issuer.read_bytes(), range(16)))
    assert len(set(found)) == 1
    assert len(json.loads(ensure_keys(tmp_path).jwks.read_bytes())["keys"]) == 2


def test_the_services_can_use_the_service_key(tmp_path: Path) -> None:
    ServiceKey.load(ensure_keys(tmp_path).service)


async def test_tokens_are_what_the_services_verify(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path)
    claims = TokenClaims(organization="acme", user="ada", permissions=("run:execute",))
    token = issue_token(keys.issuer.read_bytes(), claims)
    verifier = TokenVerifier({LOCAL_ISSUER: FileKeySet(keys.jwks)}, clock_skew_seconds=0)
    security = await verifier.verify(f"Bearer {token}")
    assert security.organization_id == "acme"
    assert security.user_id == "ada"
    assert security.permissions == frozenset({"run:execute"})


async def test_after_a_rotation_old_tokens_are_still_verified(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path)
    old = issue_token(keys.issuer.read_bytes(), TokenClaims())
    keys.issuer.unlink()
    ensure_keys(tmp_path)
    new = issue_token(keys.issuer.read_bytes(), TokenClaims())

    old_id, new_id = (jwt.get_unverified_header(token)["kid"] for token in (old, new))
    published = json.loads(keys.jwks.read_bytes())["keys"]
    token_key_id = public_jwk(keys.token.read_bytes())["kid"]
    assert [key["kid"] for key in published] == [new_id, token_key_id, old_id]
    verifier = TokenVerifier({LOCAL_ISSUER: FileKeySet(keys.jwks)}, clock_skew_seconds=0)
    for token in (old, new):
        assert (await verifier.verify(f"Bearer {token}")).organization_id == "default"


def test_the_public_key_holds_nothing_private() -> None:
    assert public_jwk(new_private_key()).keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_a_token_says_when_it_ends() -> None:
    token = issue_token(new_private_key(), TokenClaims(ttl_seconds=60), now=1000.7)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iat"], claims["exp"]) == (1000, 1060)


def test_a_file_that_is_no_key_is_an_error(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path)
    keys.issuer.write_text("nonsense")
    with pytest.raises(ValueError, match=r"PEM|deserialize"):
        ensure_keys(tmp_path)
