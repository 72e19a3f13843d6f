"""One-time passwords and QR codes against published and independent vectors."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest

from sandbox.auth.qr import encode, svg
from sandbox.auth.totp import matching_step, new_secret, totp

SEED = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    # The appendix prints eight digits; six are its last six (RFC 4226 section 5.3 reduces by modulus).
    assert totp(SEED, seconds) == code[-6:]
    assert totp(SEED.lower(), datetime.fromtimestamp(seconds, UTC)) == code[-6:]


def test_a_code_is_found_in_the_step_it_belongs_to() -> None:
    moment = datetime.fromtimestamp(2000000000, UTC)
    step = 2000000000 // 30
    for distance in (-1, 0, 1):
        assert matching_step(SEED, totp(SEED, (step + distance) * 30), moment) == step + distance
    for distance in (-2, 2):
        assert matching_step(SEED, totp(SEED, (step + distance) * 30), moment) is None


def test_secrets_are_new_and_have_160_bits() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(base64.b32decode(secret)) for secret in secrets} == {20}


def test_a_secret_that_is_not_base32_is_refused() -> None:
    with pytest.raises(ValueError, match="base32"):
        totp("not base32!", 0)


@pytest.mark.parametrize(
    ("text", "mask", "size", "digest"),
    [
        (
            "otpauth://totp/a@b.co?secret=JBSWY3DPEHPK3PXPJBSWY3DP"[:53].ljust(53, "="),
            7,
            29,
            "f75f51b008ab331741e6b749e4df91d656fbe5e37b4bc2934d8537c4885a9c03",
        ),
        ("x" * 134, 3, 41, "3239ca64e0dad4e7de74e06bd1ca11ddffaf262359b1806188d8039e816b3032"),
        (
            "otpauth://totp/" + "y" * 215,
            1,
            53,
            "32dc014bd9307f20dd4798a9a0bbce7d0a91542122b526ca7ed9709bf34c928d",
        ),
        ("z" * 858, 0, 97, "ec4cbf22ec473bc4465cf3264fefc62b82f4ac8f4770bb491155b0148015bbdf"),
    ],
)
def test_qr_codes_are_those_of_an_independent_encoder(text: str, mask: int, size: int, digest: str) -> None:
    # Digests of the modules that the library segno 1.6 makes of the same text at level L with the same mask.
    matrix = encode(text, mask)
    assert len(matrix) == size
    assert hashlib.sha256(bytes(dark for row in matrix for dark in row)).hexdigest() == digest


def test_short_data_is_padded_as_the_standard_says() -> None:
    # Version 1, mask 0: the header, eight letters, the terminator, then 11101100 and 00010001 in turn.
    matrix = encode("abcdefgh", mask=0)
    places = [(x, y) for right in (20, 18, 16, 14) for x, y in _columns(right)]
    bits = "".join("01"[matrix[y][x] ^ ((x + y) % 2 == 0)] for x, y in places)
    read = bytes(int(bits[at : at + 8], 2) for at in range(0, 12 * 8, 8))
    assert read.hex() == "40861626364656667680ec11"


def _columns(right: int) -> list[tuple[int, int]]:
    rows = range(20, 8, -1) if right in {20, 16} else range(9, 21)
    return [(x, y) for y in rows for x in (right, right - 1)]


def test_text_beyond_the_largest_version_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode("z" * 859)


def test_the_image_has_a_module_for_every_dark_one() -> None:
    image = svg("otpauth://totp/x")
    assert image.startswith("<svg ")
    assert image.count("h1v1h-1z") == sum(map(sum, encode("otpauth://totp/x")))
