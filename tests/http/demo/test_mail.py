"""Mails as they come: none of them may stop the agent, and none may draw on the reader's terminal."""

from pathlib import Path

import pytest

from sandbox.demo.mail import MAX_TEXT, InboxError, parse, read_folder
from sandbox.demo.screen import clean


def test_plain_text_is_read_with_its_sender() -> None:
    letter = parse(b"From: Ann Oak <ANN@oak.example>\nSubject: Bill 7\n\nPlease pay.\n", "a.eml")
    assert (letter.sender_name, letter.sender_address) == ("Ann Oak", "ann@oak.example")
    assert (letter.subject, letter.text.strip(), letter.notes) == ("Bill 7", "Please pay.", ())


def test_html_alone_is_read_without_its_markup_scripts_and_styles() -> None:
    raw = (
        b"From: a@b.example\nContent-Type: text/html\n\n<html><head><title>T</title><style>p{}</style></head>"
        b"<body><script>steal()</script><p>Pay <b>INV-1</b></p><p>EUR&nbsp;5.00</p></body></html>"
    )
    letter = parse(raw, "a.eml")
    assert letter.text.split("\n") == ["Pay INV-1", "EUR 5.00"]
    assert "words of its HTML" in letter.notes[0]


def test_plain_text_is_preferred_to_html() -> None:
    raw = (
        b'Content-Type: multipart/alternative; boundary="x"\n\n--x\nContent-Type: text/html\n\n<p>rich</p>\n'
        b"--x\nContent-Type: text/plain\n\nplain\n--x--\n"
    )
    assert parse(raw, "a.eml").text.strip() == "plain"


def test_attachments_are_named_and_not_opened() -> None:
    raw = (
        b'Content-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/plain\n\nsee file\n'
        b'--x\nContent-Type: text/plain\nContent-Disposition: attachment; filename="pay.txt"\n\nPay EUR 9.00\n--x--\n'
    )
    letter = parse(raw, "a.eml")
    assert "EUR 9.00" not in letter.text
    assert letter.notes == ("1 attachment was not opened (pay.txt)",)


@pytest.mark.parametrize("charset", ["x-martian", "utf-8", "us-ascii", "undefined"])
def test_an_unknown_or_broken_encoding_is_read_as_far_as_possible(charset: str) -> None:
    raw = f'Content-Type: text/plain; charset="{charset}"\n\ncaf'.encode() + b"\xe9 costs EUR 3.00\n"
    letter = parse(raw, "a.eml")
    assert letter.text.startswith("caf� costs EUR 3.00")
    assert "encoding" in letter.notes[0]


def test_declared_encodings_are_honoured() -> None:
    header = b'Subject: =?iso-8859-1?Q?Rechnung_f=FCr_M=E4rz?=\nContent-Type: text/plain; charset="iso-8859-15"\n\n'
    raw = header + b"\xa4 275,00"
    letter = parse(raw, "a.eml")
    assert (letter.subject, letter.text) == ("Rechnung für März", "€ 275,00")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x01\x02\xff\xfe",
        b"no header at all, only words",
        b"From: =?utf-8?B?////?= <\nSubject: =?x?Z?\n\n",
        b"From: <<<>>>,,;:\nTo: @@@\nDate: yesterday\n\nhello",
        b"From: \xff\xfe\xfa@x\nSubject: \xed\xa0\x80\n\nhello",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b'Content-Type: multipart/mixed; boundary="x"\n\n--x\n\n--x',
        b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!not base64!!!",
        b"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: inner\n\nhi",
        b"Content-Type: text/html\n\n<![foo<!--<p",
        b"Content-Type: ;;;=\nContent-Disposition: ===\n\nhello",
        b"Content-Type: text/plain; charset=utf-8''%ff%00\n\nhello",
        b"From: a@b.example\n" + b"X: y\n" * 5000 + b"\nhello",
    ],
)
def test_no_mail_stops_the_reader(raw: bytes) -> None:
    letter = parse(raw, "a.eml")
    for text in (letter.sender_name, letter.sender_address, letter.subject, letter.date, letter.text, *letter.notes):
        text.encode()  # no halves of surrogate pairs
        assert "\x00" not in text


def test_a_long_mail_is_cut_and_says_so() -> None:
    letter = parse(b"Subject: x\n\n" + b"a" * (MAX_TEXT + 1), "a.eml")
    assert len(letter.text) == MAX_TEXT
    assert letter.notes == ("only the beginning of its text was read",)


def test_folders_are_read_by_name_and_only_mails(tmp_path: Path) -> None:
    for name in ("b.eml", "a.EML", "notes.txt"):
        (tmp_path / name).write_bytes(b"Subject: x\n\nx")
    (tmp_path / "c.eml").mkdir()
    (tmp_path / "gone.eml").symlink_to(tmp_path / "nowhere")
    assert [letter.file for letter in read_folder(tmp_path)] == ["a.EML", "b.eml"]


def test_an_empty_or_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match=r"no \.eml file"):
        read_folder(tmp_path)
    with pytest.raises(InboxError, match="no folder"):
        read_folder(tmp_path / "missing")


def test_what_a_mail_says_cannot_move_the_cursor_or_turn_the_text() -> None:
    assert clean("pay\x1b[2J\x07 \u202eEUR\u200b 5\r\nnow\u00a0!") == "pay [2J EUR 5 now !"
    assert clean("x" * 400) == "x" * 297 + "..."
