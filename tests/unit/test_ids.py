"""UUIDv7 (RFC 9562 section 5.7)."""

import time
import uuid

import pytest

from api.ids import new_id


def test_version_and_variant() -> None:
    for _ in range(1000):
        made = new_id()
        assert made.version == 7
        assert made.variant == uuid.RFC_4122


def test_the_first_48_bits_are_unix_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    assert before <= made.int >> 80 <= after


def test_the_layout_of_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test vector of RFC 9562, appendix A.6."""
    monkeypatch.setattr("api.ids.time.time_ns", lambda: 0x017F22E279B0 * 1_000_000 + 999_999)
    rand_a, rand_b = 0xCC3, 0x18C4DC0C0C07398F
    monkeypatch.setattr("api.ids.os.urandom", lambda size: (rand_a << 64 | rand_b).to_bytes(size, "big"))
    assert str(new_id()) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_random_bits_do_not_spill_into_version_or_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    for filler in (b"\x00", b"\xff"):
        monkeypatch.setattr("api.ids.os.urandom", lambda size, filler=filler: filler * size)
        made = new_id()
        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert abs((made.int >> 80) - time.time_ns() // 1_000_000) < 60_000


def test_ids_of_different_milliseconds_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1_700_000_000_000, 1_700_000_000_100))
    monkeypatch.setattr("api.ids.time.time_ns", lambda: next(moments) * 1_000_000)
    made = [new_id() for _ in range(100)]
    assert made == sorted(made)
    assert [str(i) for i in made] == sorted(str(i) for i in made)


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.ids.time.time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({new_id() for _ in range(10_000)}) == 10_000
