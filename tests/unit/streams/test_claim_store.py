import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.base import sha256_hex
from streams.claim_store import ClaimStore
from streams.errors import ClaimAway


@pytest.fixture
def store(tmp_path):
    """A store that does not exist yet."""
    return ClaimStore(tmp_path / "claims")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_what_is_put_is_given_back(store, value):
    """Under its hash, as often as it is asked for, and nothing else lies beside it."""
    sha256 = store.put(value)
    assert sha256 == sha256_hex(value) == store.put(value)
    assert store.get(sha256, len(value)) == value
    assert not [path for path in store.folder.rglob(".*") if path.is_file()]


def test_a_missing_value_is_named_with_its_store(store):
    """Whoever reads it knows which file, and whether the whole store is away."""
    with pytest.raises(ClaimAway, match=r"claims/ab/ab.* is missing \(the store's folder is not there either\)"):
        store.get("ab" * 32, 5)
    store.put(b"x")
    with pytest.raises(ClaimAway, match=r"is missing \(the store's folder is there\)"):
        store.get("ab" * 32, 5)


def test_a_changed_value_is_not_believed(store):
    """The hash decides; writing the value again mends it."""
    sha256 = store.put(b"right")
    store.path(sha256).write_bytes(b"wrong")
    with pytest.raises(ClaimAway, match=f"5 bytes with sha256 {sha256_hex(b'wrong')}"):
        store.get(sha256, 5)
    assert store.get(store.put(b"right"), 5) == b"right"


def test_a_write_that_fails_leaves_nothing_under_the_name(store, monkeypatch):
    """Neither half a file nor a left-over."""

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.put(b"value")
    assert [path.name for path in store.folder.glob("??/*")] == []
    assert [path.name for path in store.folder.glob("??/.*")] == []


def test_only_age_removes(store):
    """What is old goes, left-overs of killed writers too; what was written again stays, and strangers' files."""
    old, young, again = (store.put(value) for value in (b"old", b"young", b"again"))
    half = store.path(old).parent / f".{old}.0123"
    half.write_bytes(b"ol")
    strange = store.path(old).parent / "README"
    strange.write_text("not ours")
    past = time.time() - 1000
    for path in (store.path(old), store.path(again), half, strange):
        os.utime(path, (past, past))
    found = {kept.sha256: kept for kept in store.old(900)}
    assert found.keys() == {old, again, half.name}
    store.put(b"again")
    assert [store.remove(kept) for kept in found.values()].count(True) == 2
    assert store.get(young, 5) == b"young"
    assert store.get(again, 5) == b"again"
    assert strange.exists()
    assert not half.exists()
