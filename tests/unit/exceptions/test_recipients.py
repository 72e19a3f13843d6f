"""Whom an exception goes to, as a list tells it: by name whom the directory vouches for, the rest as written."""

from typing import Any
from uuid import UUID

from api.exceptions.models import Recipients
from api.exceptions.recipients import objected, recipients_of

ID = UUID(int=1)
ACCOUNT, IBAN = "account:iban:NL91ABNA0417164300", "nl91 abna 0417 1643 00"
NORTHWIND = {"name": "Northwind Paper GmbH", "trusted": True}


def row(key: str, *entries: dict[str, Any], texts: tuple[str, ...] = (), keys: int = 2) -> dict[str, Any]:
    return {"id": ID, "key": key, "keys": keys, "entries": list(entries), "texts": list(texts)}


def test_what_nobody_vouches_for_is_told_as_it_was_written_the_name_first() -> None:
    texts = ("INV-1", IBAN, "Kestrel  Software Ltd")
    found = recipients_of([row(ACCOUNT, texts=texts), row("name:kestrel software ltd", texts=texts)])
    assert found == {ID: Recipients(unknown=[("name", "Kestrel  Software Ltd"), ("account", IBAN)])}


def test_of_a_large_payload_the_key_is_told() -> None:
    found = recipients_of([row(ACCOUNT, keys=9), row("email:a@b.example")])
    assert found[ID].unknown == [("email", "a@b.example"), ("account", "NL91ABNA0417164300")]
    assert found[ID].left == 5


def test_a_known_name_with_another_account_stays_beside_that_account() -> None:
    """Changed bank details: the name alone would say that all is well."""
    [found] = recipients_of([row(ACCOUNT, texts=(IBAN,)), row("name:northwind paper gmbh", NORTHWIND)]).values()
    told = found.told(objection=True)
    assert (told.known, told.unknown) == (["Northwind Paper GmbH"], [("account", IBAN)])
    assert found.told(objection=False) == told


def test_a_name_that_is_spelt_otherwise_is_left_out_where_the_gate_took_it_for_the_same() -> None:
    rows = [row(ACCOUNT, NORTHWIND), row("name:northwind papers", texts=("Northwind Papers",))]
    [found] = recipients_of(rows).values()
    assert found.told(objection=True).unknown == [("name", "Northwind Papers")]
    assert found.told(objection=False).unknown == []
    items = [("approval", ["limits"]), ("approval", ["counterparty"]), ("manual", ["kill_switch"])]
    assert [objected({"kind": kind, "stopped_by": by}) for kind, by in items] == [False, True, True]


def test_bank_details_that_cool_off_are_not_trusted_by_the_name_beside_them() -> None:
    young = NORTHWIND | {"trusted": False}
    [found] = recipients_of([row(ACCOUNT, young), row("name:northwind paper gmbh", NORTHWIND)]).values()
    assert (found.known, found.cooling) == (["Northwind Paper GmbH"], ["Northwind Paper GmbH"])
    other = ACCOUNT.replace("NL", "NO")
    [found] = recipients_of([row(ACCOUNT, NORTHWIND), row(other, young), row(other, young)]).values()
    assert (found.known, found.cooling) == (["Northwind Paper GmbH"], ["Northwind Paper GmbH"])
