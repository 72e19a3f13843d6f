"""Somebody is found however their name or account is written, and nobody whose is only like it."""

import pytest

from api.privacy.models import AboutWhom
from api.privacy.service import _text, pattern_of


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        ("text", "Jos\u00e9 N\u00fa\u00f1ez", "to Jose\u0301 Nu\u0301n\u0303ez, Madrid"),
        ("text", "Ada Lovelace", "Ada\r\nLove\u200blace"),
        ("iban", "DE89370400440532013000", "\rDE89 3704 0044 0532 0130 00"),
        ("iban", "DE89370400440532013000", "\uff24\uff2589370400440532013000"),
        ("email", "ada@x.example", "\tADA@x.example"),
        ("text", 'Ada "Countess" L', 'Ada "Countess" L'),
    ],
)
def test_found_however_it_is_written(kind: str, value: str, written: str) -> None:
    pattern = pattern_of(AboutWhom.model_validate({"type": kind, "id": value}))
    assert pattern is not None
    assert pattern.search(_text({"observations": [{"result": {"memo": [written]}}]}))
    assert pattern.search(_text({"actions": [{"args": {written: 1}}]}))
    assert not pattern.search(_text({"memo": "José Núñezes, DE893704004405320130001 and nada@x.example"}))
