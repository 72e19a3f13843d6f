"""Any JSON value is shown whole, or says what is left out."""

import re
from typing import Any

from api.dashboard import facts, untrusted
from api.gate.models import Contract
from tests.unit.dashboard.payments import ARGS, CONTRACT


def bare(markup: str) -> str:
    return re.sub(r"<[^>]*>", "|", markup)


def test_a_payment_reads_as_one() -> None:
    shown = facts.show(ARGS, contract=CONTRACT)
    assert '<span class="money">1,299.00 EUR</span>' in shown
    assert "(129900)" in shown, "what is sent is shown beside how it reads"
    assert "<span>DE89</span><span>3704</span>" in shown
    assert '<dt title="to_iban">To IBAN</dt>' in shown


def test_amounts_of_contracts_without_a_currency_stay_numbers() -> None:
    shown = facts.show({**ARGS, "currency": 5}, contract=CONTRACT)
    assert '<span class="number">129900</span>' in shown


def test_every_kind_of_value_is_told_apart() -> None:
    shown = bare(facts.show({"a": None, "b": True, "c": False, "d": [], "e": {}, "f": "", "g": 0, "h": 1.5, "i": "no"}))
    for text in ("none", "yes", "no", "empty list", "nothing in it", "empty text", "|0|", "|1.5|"):
        assert text in shown


def test_names_and_values_from_outside_are_text() -> None:
    hostile = "<script>alert(1)</script>\u202e\ud800"
    shown = facts.show({hostile: hostile, "list": [hostile, {hostile: [hostile]}]}, {"": {"trust": "trusted"}})
    assert "<script" not in shown
    assert "\u202e" not in shown
    assert "[U+202E]" in shown
    shown.encode()


def test_long_lists_and_objects_say_how_much_is_left() -> None:
    shown = facts.show([{"n": {"of": n}} for n in range(10_000)])
    assert "Show 175 more" in shown
    assert "9,800 more of 10,000" in shown
    assert len(shown) < 150_000
    shown = facts.show({f"key{n}": list(range(300)) for n in range(300)})
    assert "not shown here" in shown
    assert len(shown) < 300_000


def test_a_megabyte_of_text_is_bounded() -> None:
    for labels in (None, {"/t": {"trust": "trusted"}}, {}):
        shown = facts.show({"t": "word " * 200_000}, labels)
        assert len(shown) < 30_000
        assert "980,000 more characters" in shown


def test_what_is_left_out_of_a_value_can_be_asked() -> None:
    """Whether it is a text, a list, its members or its depth; and no text says so itself."""
    whole = {"text": "word " * 3000, "list": list(range(200)), "rows": [{"n": n} for n in range(50)], "id": "a" * 60}
    assert not facts.cut(facts.show(whole))
    assert not facts.cut(facts.show({"t": '<p class="rest">', '<p class="more">': "class='rest'"}))
    rows = [{"n": n} for n in range(51)]
    deep = {f"key{n}": list(range(100)) for n in range(20)}
    for long in ({"t": "word " * 5000}, {"t": list(range(201))}, {"t": rows}, deep, {"k" * 121: 1}):
        assert facts.cut(facts.show(long))
    with untrusted.bounded(3000):
        assert not facts.cut(facts.show({"t": "short"}))
        assert facts.cut(facts.show({f"key{n}": "\u202e" * n for n in range(100)}))


def test_trust_is_said_of_every_leaf_and_nothing_is_trusted_without_a_label() -> None:
    labels = {"/balance": {"trust": "trusted"}, "/lines/*/from": {"trust": "metadata"}}
    shown = facts.show({"balance": 5, "lines": [{"from": "a@b.example", "note": "hi"}], "new": 1}, labels)
    assert shown.count(">Trusted<") == 1
    assert shown.count(">Sender&#39;s own<") == 1
    assert shown.count(">Untrusted<") == 2


def test_suspicious_passages_are_highlighted_at_their_pointer() -> None:
    signal: dict[str, Any] = {"pointer": "/body", "start": 3, "end": 19, "kind": "override"}
    shown = facts.show({"body": "Hi ignore the rules", "other": "ignore the rules"}, {}, [signal])
    assert shown.count("<mark") == 1
    assert "1 suspicious passage" in shown


def test_ids_are_short_and_whole_at_once() -> None:
    digest = "sha256:" + "1f3a07b2" * 8
    shown = facts.show({"digest": digest, "id": "0195f3c2-7b1a-7cc3-9d2e-8f4b5a6c7d8e"})
    assert f'data-copy="{digest}"' in shown
    assert f'<code class="copy-all">{digest}</code>' in shown
    assert ">0195f3c2…<" in shown
    assert facts.copyable("short") == '<span class="copy" data-copy="short"><code>short</code></span>'


def test_a_difference_is_told_in_words_and_marks() -> None:
    shown = facts.diff({"a": 1, "same": [1, 2], "gone": "x"}, {"a": 2, "same": [1, 2], "new": True})
    assert shown.count("<del>") == 2
    assert shown.count("<ins>") == 2
    assert shown.count("not there") == 2
    assert "2 fields the same." in shown
    assert 'data-label="Before"' in shown
    assert facts.diff({"a": 1}, {"a": 1}) == '<p class="same">Nothing differs.</p>'


def test_a_difference_of_kind_is_one() -> None:
    assert "<ins>" in facts.diff({"a": 1}, {"a": True})
    assert "<ins>" in facts.diff({"a": "1"}, {"a": 1})
    assert "<ins>" in facts.diff([1], {"0": 1})
    assert "9,800 more differences" in facts.diff(list(range(10_000)), list(range(1, 10_001)))


def test_a_contract_is_only_asked_of_arguments() -> None:
    contract: Contract = CONTRACT
    assert "number" in facts.show(5, contract=contract)


def test_records_of_one_form_stand_side_by_side() -> None:
    bills = [{"id": f"bill_{n}", "memo": "<b>"} for n in range(60)]
    shown = facts.show({"bills": bills}, labels={"/bills/*/id": {"trust": "trusted"}})
    assert shown.count("<tr>") == 1 + facts.ROWS
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "10 more of 60" in shown
    assert shown.count("Untrusted") >= facts.ROWS  # what nothing is said of is not trusted, and says so in every row
    alike = facts.show(bills[:3], labels={"/*/id": {"trust": "trusted"}, "/*/memo": {"trust": "trusted"}})
    assert alike.count("Trusted") == 1
    assert "<table" not in facts.show([{"a": 1}, {"b": 1}])
    assert "<table" not in facts.show([{"a": "x" * 100}, {"a": "y"}])
