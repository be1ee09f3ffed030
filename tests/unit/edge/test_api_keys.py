"""API keys: long enough, kept only as a hash, compared in constant time, scoped (T1)."""

from dataclasses import replace

import pytest

from speech.apikeys import READ, WRITE, check_key, key_id_of, new_key
from speech.errors import Forbidden, Unauthenticated
from tests.support.edge import Edge

PEPPER = b"pepper" * 6


def test_a_key_is_256_random_bits_of_which_only_a_hash_is_kept() -> None:
    """T1"""
    token, record = new_key(pepper=PEPPER, env="Prod-1", scopes=[WRITE], now=5)

    prefix, env, key_id, secret = token.split("_")
    assert (prefix, env, key_id, len(bytes.fromhex(secret))) == ("tts", "prod1", record.key_id, 32)
    assert secret not in repr(record)
    assert (record.scopes, record.created_at, record.disabled) == ((WRITE,), 5, False)


def test_no_two_keys_are_alike() -> None:
    """T1"""
    keys = {new_key(pepper=PEPPER, env="dev", now=0)[0] for _ in range(1_000)}

    assert len(keys) == 1_000


def test_only_the_whole_key_with_its_own_record_and_pepper_is_right() -> None:
    """T1"""
    token, record = new_key(pepper=PEPPER, env="dev", now=0)
    other, others_record = new_key(pepper=PEPPER, env="dev", now=0)

    assert check_key(token, record, PEPPER)
    assert not check_key(token[:-1] + ("0" if token[-1] != "0" else "1"), record, PEPPER)
    assert not check_key(token.replace("tts_dev", "tts_prod"), record, PEPPER)
    assert not check_key(token, others_record, PEPPER)
    assert not check_key(other, record, PEPPER)
    assert not check_key(token, record, b"another pepper")
    assert not check_key(token, replace(record, disabled=True), PEPPER)
    assert not check_key(token, None, PEPPER)


@pytest.mark.parametrize("token", ["", "tts", "tts_dev_x_y", "tts_dev_0123456789abcdef_" + "g" * 64, "x" * 10_000, "é"])
def test_what_is_no_key_has_no_id_to_look_up(token: str) -> None:
    """T1"""
    assert key_id_of(token) is None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcg==", "Bearer tts_dev_x_y", "bearer é"])
def test_a_missing_or_malformed_key_is_refused_without_a_look_at_the_table(edge: Edge, header: str | None) -> None:
    """T1"""
    with pytest.raises(Unauthenticated):
        edge.check_api_key(header, READ)

    assert edge.store.calls == []


def test_a_key_opens_what_its_scopes_name_and_nothing_else(edge: Edge) -> None:
    """T1"""
    token = edge.an_api_key(READ)

    assert edge.check_api_key(f"bearer {token}", READ).tenant == "default"
    with pytest.raises(Forbidden):
        edge.check_api_key(f"Bearer {token}", WRITE)


def test_a_key_is_read_once_a_minute_and_one_that_was_taken_away_stops_working_then(edge: Edge) -> None:
    """T1"""
    token = edge.an_api_key()
    record = edge.check_api_key(f"Bearer {token}", READ)
    edge.store.put_api_key(replace(record, disabled=True))

    edge.clock.advance(59)
    edge.check_api_key(f"Bearer {token}", READ)
    edge.clock.advance(1)
    with pytest.raises(Unauthenticated):
        edge.check_api_key(f"Bearer {token}", READ)

    assert edge.store.calls.count("api_key") == 2


def test_the_right_id_with_the_wrong_secret_is_refused_however_warm_the_cache_is(edge: Edge) -> None:
    """T1"""
    token = edge.an_api_key()
    edge.check_api_key(f"Bearer {token}", READ)

    with pytest.raises(Unauthenticated):
        edge.check_api_key(f"Bearer {token[:-64]}{'0' * 64}", READ)


def test_e7_a_key_still_works_after_the_signing_key_was_rotated_once(edge: Edge) -> None:
    token = edge.an_api_key()
    edge.keys.rotate(b"fedcba9876543210" * 2)
    newer = edge.an_api_key()

    assert edge.check_api_key(f"Bearer {token}", READ)
    assert edge.check_api_key(f"Bearer {newer}", READ)
    edge.keys.rotate(b"0000000000000000" * 2)
    with pytest.raises(Unauthenticated):
        edge.check_api_key(f"Bearer {token}", READ)
    assert edge.check_api_key(f"Bearer {newer}", READ)
