"""What the detectors find, how often, and that no text keeps them busy."""

import sys
import time
from itertools import pairwise

import pytest

from api.gate.data_classes import NAMES
from api.gate.detectors import CLASS_OF_KIND, KINDS, MASKS, detect, masked
from api.gate.redaction import redact, redacted
from scripts.detectors.measure import at_least, measure, table
from scripts.detectors.sample import generated, written

SAMPLE = generated()


def test_enough_is_found_and_little_else(capsys: pytest.CaptureFixture[str]) -> None:
    tuned = measure([*SAMPLE, *written("negatives.txt")])
    held_out = measure(list(written("held_out.txt")))
    with capsys.disabled():
        sys.stdout.write(f"\n{table(tuned)}\nheld out:\n{table(held_out)}\n")
    assert len([one for one in SAMPLE if one.kind]) >= 400
    assert len([one for one in SAMPLE if not one.kind]) >= 400
    assert at_least(tuned), {kind: (one.missed, one.false) for kind, one in tuned.items()}
    assert held_out["credential"].recall == 1.0
    assert generated() == SAMPLE


def test_every_kind_is_of_a_class_and_has_a_mask() -> None:
    assert set(CLASS_OF_KIND) == set(MASKS) == set(KINDS)
    assert set(CLASS_OF_KIND.values()) <= NAMES


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("111222333", "/employee/bsn", ["national_id"]),
        ("111222333", "/order/id", []),
        ("111222333", "", []),
        ("BSN: 111222333", "", ["national_id"]),
        ("111222333 (BSN)", "", ["national_id"]),
        ("BSN of the other. Order 111222333", "", []),
        ("0612345678", "/customer/mobilePhone", ["phone"]),
        ("0612345678", "/order/number", []),
        ("4111111111111111", "/payment/cardNumber", ["card"]),
        ("4111111111111112", "/payment/cardNumber", []),
        ("correct horse", "/settings/client_secret", ["credential"]),
        ("10.4.2.1", "/release", ["ip"]),
    ],
)
def test_a_name_says_what_a_number_is(text: str, name: str, found: list[str]) -> None:
    assert [one.kind for one in detect(text, name)] == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pay D\u200bE89370400440532013000 now", "D\u200bE89370400440532013000"),
        ("pay \u202eDE89 3704 0044 0532 0130 00\u202c", "DE89 3704 0044 0532 0130 00"),
        ("\u0661\u0662 card \u0664\u0661\u0661\u0661 1111 1111 1111", "\u0664\u0661\u0661\u0661 1111 1111 1111"),
        ("D\u0415\u0038\u0039370400440532013000", "D\u041589370400440532013000"),
        ("\uff24\uff25\uff18\uff1937040044 0532013000", "\uff24\uff25\uff18\uff1937040044 0532013000"),
        ("\ufb01 4111\u20111111\u20111111\u20111111", "4111\u20111111\u20111111\u20111111"),
        ("a\u200dd\u200da@x.example", "a\u200dd\u200da@x.example"),
    ],
)
def test_what_is_disguised_is_found_where_it_stands(text: str, value: str) -> None:
    [found] = [one for one in detect(text) if one.kind != "url"]
    assert text[found.start : found.end] == value
    assert value not in masked(text, [found])


def test_findings_do_not_overlap_and_are_the_same_every_time() -> None:
    text = " ".join(sample.text for sample in SAMPLE)
    found = detect(text)
    assert found == detect(text)
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize(
    "part",
    ["a", "1 ", "4111-", "@", "a@", "DE12 ", "\u00e9", "0", "+1-", "::", "a.", "1.1.", "[at]", "password:", "http://",
     "eyJaaaaaaaaaa.", "-----BEGIN ", "(", "0 12 ", "x?#", "\u200b", "<IBAN_"],
)  # fmt: skip
def test_time_grows_with_the_length_of_a_text_and_no_faster(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        started = time.process_time()
        detect(text)
        return time.process_time() - started

    # Eight times as long; a square would be 64 times, and is so every time, as a collection of garbage is not.
    assert any(seconds(160_000) < 30 * seconds(20_000) + 0.2 for _ in range(3))


def test_redacted_texts_hold_nothing_of_the_sample_and_stay_so() -> None:
    for sample in SAMPLE:
        said = redact(sample.text, sample.name)
        if sample.kind in (None, "url"):
            continue
        assert sample.value not in said
        assert redact(said, "") == said


def test_ids_amounts_times_and_addresses_of_pages_stay() -> None:
    text = (
        "action 0190c5a0-9d1c-7f3a-8b11-3f2b7c9d1e2f of 1,299.00 EUR at 2026-11-28T04:31:55Z, digest "
        f"sha256:{'0a1b' * 16}, see https://api.example/v1/actions"
    )
    assert redact(text) == text
    assert redact("https://x.example/a?token=1#b") == "https://x.example/a?[QUERY]"


def test_documents_keep_their_shape() -> None:
    document = {"ada@x.example": [1, None, {"bsn": "111222333", "id": "111222333"}], "n": 4111111111111111}
    assert redacted(document) == {
        "[E-MAIL]": [1, None, {"bsn": "[NATIONAL-ID]", "id": "111222333"}],
        "n": "[CARD]",
    }
