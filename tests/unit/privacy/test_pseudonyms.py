"""A model sees tokens; its proposal is given the values back, and nothing but those."""

import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.gate.facts import RunFacts
from api.gate.pseudonyms import Pseudonyms, UnknownTokenError
from api.gate.vocabulary import PSEUDONYMS

IBAN, OTHER, THIRD = "DE94000123450532013000", "NL91ABNA0417164300", "DE89370400440532013000"
LABELS = {
    "/bills/*/iban": {"trust": "trusted", "data_class": "financial"},
    "/bills/*/amount": {"trust": "trusted", "data_class": "financial"},
    "/bills/*/contact": {"trust": "trusted", "data_class": "personal"},
    "/bills/*/since": {"trust": "trusted", "data_class": "personal"},
    "/bills/*/account": {"trust": "trusted", "data_class": "financial"},
    "/bills/*/memo": {"trust": "untrusted"},
}
BILL: dict[str, Any] = {
    "id": "bill_1", "iban": IBAN, "amount": 129900, "contact": "Ada Lovelace", "since": "2024-05-01",
    "account": "00123456", "memo": "Call Ada Lovelace at +44 20 7946 0958 or ada@x.example",
}  # fmt: skip


def seen(*results: Any, erased: tuple[int, ...] = (), instruction: str = "Pay what is due.") -> RunFacts:
    observations = [
        {"id": UUID(int=n), "tool": "a.b", "source": "gateway", "result": None if n in erased else result,
         "labels": {} if n in erased else LABELS, "erased": n in erased}
        for n, result in enumerate(results, 1)
    ]  # fmt: skip
    run = {"id": UUID(int=9), "instruction": instruction, "observed": len(results), "observations": observations}
    return RunFacts.model_validate(run)


def tokens(run: RunFacts, kinds: Any = PSEUDONYMS) -> Pseudonyms:
    return Pseudonyms.of(run, kinds)


def test_values_become_tokens_and_amounts_dates_and_ids_stay() -> None:
    run = seen({"bills": [BILL]})
    hidden = tokens(run).hide(run.observations[0].result)["bills"][0]
    assert hidden == {
        "id": "bill_1", "iban": "<IBAN_1_1>", "amount": 129900, "contact": "<PERSON_1_1>", "since": "2024-05-01",
        "account": "<ACCOUNT_1_1>", "memo": "Call <PERSON_1_1> at <PHONE_1_1> or <EMAIL_1_1>",
    }  # fmt: skip
    assert tokens(run).shown(hidden) == BILL


def test_the_same_value_has_the_same_token_however_it_is_written() -> None:
    run = seen({"iban": IBAN}, {"memo": "Pay to DE94 0001 2345 0532 0130 00, not to nl91abna0417164300"})
    assert tokens(run).hide("to DE94-0001-2345-0532-0130-00!") == "to <IBAN_1_1>!"
    assert tokens(run).hide(OTHER) == "<IBAN_2_2>"
    assert tokens(run).shown("<IBAN_2_1> and <IBAN_2_2>") == f"{IBAN} and {OTHER}"


def test_tokens_stay_when_more_is_read_and_when_members_are_kept_in_another_order() -> None:
    first = {"b": OTHER, "a": IBAN}
    before, after = tokens(seen(first)), tokens(seen({"a": IBAN, "b": OTHER}, {"c": THIRD}))
    assert before.values == {token: value for token, value in after.values.items() if token.startswith("<IBAN_1")}
    assert after.hide(THIRD) == "<IBAN_2_1>"


def test_what_is_erased_has_no_token_and_lends_it_to_nobody() -> None:
    read = ({"iban": IBAN}, {"ibans": [IBAN, OTHER]}, {"iban": THIRD})
    before, after = tokens(seen(*read)), tokens(seen(*read, erased=(1,)))
    assert before.hide([IBAN, OTHER, THIRD]) == ["<IBAN_1_1>", "<IBAN_2_2>", "<IBAN_3_1>"]
    assert after.hide([IBAN, OTHER, THIRD]) == ["<IBAN_2_1>", "<IBAN_2_2>", "<IBAN_3_1>"]
    with pytest.raises(UnknownTokenError):
        after.shown({"to": "<IBAN_1_1>"})
    for token in ("<IBAN_2_1>", "<IBAN_2_2>", "<IBAN_3_1>"):
        assert after.shown(token) == before.shown(token)


@pytest.mark.parametrize(
    "text",
    [
        "<IBAN_9_1>", "<IBAN_1_2>", "<IBAN_9>", "<iban_1_1>", "pay <IBAN_1_1 now", "< IBAN_1_1>", "<IBAN_01_1>",
        "<IBAN_1_0>", "<EMAIL_1_1>", "<IBAN_1_1_1>", "</IBAN_1_1>", "<IBAN_1_1><IBAN_1_7>", "<IBAN_" + "1" * 30 + ">",
    ],
)  # fmt: skip
def test_a_token_that_nobody_gave_out_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(UnknownTokenError) as refused:
        tokens(seen({"iban": IBAN})).shown({"a": [{"to": text}]})
    assert refused.value.pointer == "/a/0/to"
    with pytest.raises(UnknownTokenError):
        tokens(seen({"iban": IBAN})).shown({text: 1})
    with pytest.raises(UnknownTokenError):
        tokens(seen({"iban": IBAN}, erased=(1,))).shown("<IBAN_1_1>")


@pytest.mark.parametrize(
    "text",
    ["<KONTO_1_1>", "IBAN_1_1", "[IBAN_1_1]", "{{IBAN_1_1}}", "&lt;IBAN_1_1&gt;", "<IBAN", "<IBAN 1 1>", "IBAN Nr. 1_1",
     "PElCQU5fMV8xPg==", "%3CIBAN_1_1%3E", "\\u003cIBAN_1_1>"],
)  # fmt: skip
def test_what_a_model_makes_of_a_token_is_text_and_no_value(text: str) -> None:
    """Translated, split over members, escaped, retold: no account comes of it, and the gate finds it ungrounded."""
    proposed = {"to": text, "memo": f"an {text}", "rest": ["_1_1>", "1_1>"]}
    assert tokens(seen({"iban": IBAN})).shown(proposed) == proposed


@pytest.mark.parametrize(
    "text",
    [
        "<IBAN_1_1>", "<iban_1_1>", "\uff1cIBAN_1_1\uff1e", "<I\u200bBAN_1_1>", "< IBAN_1_1 >", "<_IBAN_1_1>",
        "<\u0406BAN_1_1>", "\u2039IBAN_1_1\u203a", "<PERSON_1_1>",
    ],
)  # fmt: skip
def test_what_others_write_is_never_taken_for_a_token(text: str) -> None:
    run = seen({"bills": [{"iban": IBAN, "memo": f"Pay {text}", "contact": text}]})
    hidden = tokens(run).hide(run.observations[0].result)["bills"][0]
    for said in (hidden["memo"], hidden["contact"]):
        assert "<" not in said
        assert "\uff1c" not in said
        assert tokens(run).shown(said) == said


def test_what_was_not_read_and_credentials_are_masked() -> None:
    run = seen({"iban": IBAN})
    assert tokens(run).hide("to NL91ABNA0417164300 with sk_live_a1B2a1B2a1B2a1B2") == "to [IBAN] with [CREDENTIAL]"


def test_only_the_kinds_that_are_asked_for() -> None:
    run = seen({"bills": [BILL]})
    hidden = tokens(run, {"iban"}).hide(BILL)
    assert hidden == BILL | {"iban": "<IBAN_1_1>"}
    assert tokens(run, set()).hide(BILL) == BILL


def test_the_words_of_the_run_are_hidden_too() -> None:
    run = seen(instruction=f"Pay {IBAN} for mo@x.example")
    assert tokens(run).hide(run.instruction) == "Pay <IBAN_0_1> for <EMAIL_0_1>"


def test_a_number_is_given_back_as_a_number_and_a_name_within_a_text_as_text() -> None:
    run = RunFacts.model_validate(
        {"id": UUID(int=9), "instruction": "x", "observations": [{
            "id": UUID(int=1), "tool": "a.b", "source": "gateway", "result": {"person": 123456789},
            "labels": {"/person": {"data_class": "personal"}}}]}
    )  # fmt: skip
    made = tokens(run)
    assert made.hide({"person": 123456789}) == {"person": "<PERSON_1_1>"}
    assert made.shown({"a": "<PERSON_1_1>", "b": "no. <PERSON_1_1>"}) == {"a": 123456789, "b": "no. 123456789"}


_TEXTS = st.text(alphabet="<>IBANPERSO_1 \u200b\uff1c@x.e", max_size=30) | st.sampled_from(
    [IBAN, "a@x.example", "Ada L"]
)
_DOCUMENTS = st.recursive(
    _TEXTS | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3)
)


@given(_DOCUMENTS, _DOCUMENTS)
def test_no_text_of_others_becomes_a_value_and_no_value_is_seen(one: Any, other: Any) -> None:
    run = seen({"iban": IBAN, "said": one}, other)
    made = tokens(run)
    hidden = made.hide(other)
    assert IBAN not in str(hidden)
    assert "a@x.example" not in str(hidden)
    made.shown(_values_only(hidden))  # every token in it is one of ours


def _values_only(document: Any) -> Any:
    if isinstance(document, dict):
        return list(map(_values_only, document.values()))
    return list(map(_values_only, document)) if isinstance(document, list) else document


def test_a_card_that_is_written_as_a_number_is_hidden_and_comes_back_as_one() -> None:
    run = seen({"bills": [{"n": 4111111111111111, "amount": 129900}]})
    assert tokens(run).hide(run.observations[0].result) == {"bills": [{"n": "<CARD_1_1>", "amount": 129900}]}
    assert tokens(run).shown({"n": "<CARD_1_1>"}) == {"n": 4111111111111111}
    assert tokens(seen()).hide({"n": 4111111111111111}) == {"n": "[CARD]"}


@pytest.mark.parametrize("text", ["<I\u200bBAN_1_1>", "\uff1cIBAN_1_1\uff1e", "<\u0406BAN_1_1>", "<IBAN_1\u200b_1>"])
def test_a_disguised_token_is_refused_and_is_no_text(text: str) -> None:
    run = seen({"iban": IBAN})
    with pytest.raises(UnknownTokenError):
        tokens(run).shown({"note": f"pay {text}"})
    assert tokens(run).shown("zahle an <IBAN_1_1>, bitte schön") == f"zahle an {IBAN}, bitte schön"


def test_many_values_that_begin_alike_take_no_more_time_each() -> None:
    names = [{"contact": f"Herr Nummer {n} Muster"} for n in range(8000)]
    run = seen({"bills": [*names, {"memo": "Herr " * 8000}]})
    began = time.process_time()
    assert tokens(run).hide("an Herr Nummer 7999 Muster!") == "an <PERSON_1_8000>!"
    tokens(run).hide(run.observations[0].result)
    assert time.process_time() - began < 5  # 20 s when each was compared with each
