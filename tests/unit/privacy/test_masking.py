"""A memo carries nothing into a workflow that the workflow does not declare, and a credential never."""

import json
from typing import Any

import pytest

from api.runs.minimise import masked

MEMO = "Card 4111 1111 1111 1111, ada@x.example, DE89370400440532013000, INV-2001, 1,299.00 EUR on 2026-11-28"
KEY = "sk_live_a1B2a1B2a1B2a1B2"


def kept(text: str, declared: list[str], **label: str) -> tuple[Any, dict[str, str]]:
    labels = {"/bills/*/memo": {"trust": "untrusted"} | label}
    document, labelled = masked({"bills": [{"memo": text}]}, labels, declared)
    return document["bills"][0]["memo"], labelled["/bills/*/memo"]


@pytest.mark.parametrize(
    ("declared", "said", "note"),
    [
        (["internal"], "Card [CARD], [E-MAIL], [IBAN], INV-2001, 1,299.00 EUR on 2026-11-28", "CARD, E-MAIL, IBAN"),
        (["financial"], MEMO.replace("ada@x.example", "[E-MAIL]"), "E-MAIL"),
        (["financial", "personal"], MEMO, None),
    ],
)
def test_what_is_not_declared_is_masked_and_the_label_says_what(
    declared: list[str], said: str, note: str | None
) -> None:
    text, label = kept(MEMO, declared)
    assert text == said
    assert label.get("masked") == note
    assert label["trust"] == "untrusted"


def test_a_credential_is_masked_whatever_is_declared_and_however_the_field_is_labelled() -> None:
    everything = ["internal", "personal", "financial", "secret", "regulated", "confidential"]
    assert kept(f"use {KEY}", everything) == ("use [CREDENTIAL]", {"trust": "untrusted", "masked": "CREDENTIAL"})
    assert kept(f"use {KEY}", everything, data_class="personal")[0] == "use [CREDENTIAL]"


def test_a_field_that_the_contract_labels_is_what_the_reviewer_let_in() -> None:
    assert kept("DE89370400440532013000", ["financial"], data_class="financial")[0] == "DE89370400440532013000"
    assert kept("ada@x.example", ["financial"], data_class="financial")[0] == "ada@x.example"


def test_numbers_and_shapes_stay_as_they_are() -> None:
    document: Any = {"a": [1, 2.5, None, True, {"b": []}], "c": "INV-2001"}
    assert masked(document, {}, []) == (document, {})


def test_a_national_id_needs_a_class_of_its_own() -> None:
    assert kept("BSN: 111222333", ["personal"])[0] == "BSN: [NATIONAL-ID]"
    assert kept("BSN: 111222333", ["personal", "regulated"])[0] == "BSN: 111222333"
    assert kept("order 111222333", ["personal"])[0] == "order 111222333"


def test_a_card_that_is_a_number_is_masked_where_no_financial_data_is_declared() -> None:
    document: Any = {"n": 4111111111111111, "time": 1764316800000, "ok": True}
    assert masked(document, {}, [])[0] == document | {"n": "[CARD]"}
    assert masked(document, {}, ["financial"])[0] == document


@pytest.mark.parametrize(
    "name", ["dbPassword", "stripeApiKey", "aws_secret_access_key", "webhookSecret", "p\u200bassword", "secret"]
)
def test_a_field_that_is_called_a_secret_is_one_however_it_is_written(name: str) -> None:
    assert masked({name: "blue-horse"}, {}, [])[0] == {name: "[CREDENTIAL]"}
    assert masked({"paymentToken": "blue-horse"}, {}, [])[0] == {"paymentToken": "blue-horse"}


def test_a_secret_in_json_within_json_is_one() -> None:
    assert "hunter22" not in kept(json.dumps(json.dumps({"password": "hunter22!x"})), [])[0]
