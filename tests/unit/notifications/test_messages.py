"""What is told, when it is tried again, and by which server: none of it takes a network."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from api.config import ConfigurationError
from api.notifications import mail, messages, schedule
from api.notifications.messages import Told
from api.notifications.outgoing import Ended, _ended, signed
from api.notifications.service import leads_to

CONTENT: dict[str, Any] = {
    "alert_id": "018f", "severity": "critical", "title": "It ends", "environment": None, "occurrences": 3,
    "owner_id": "018e", "owner_name": "Ada\n<@U1>",
}  # fmt: skip


def told(event: str = "alert.raised", **changes: object) -> Told:
    return Told("msg_1", event, CONTENT | changes, "2026-11-28T09:00:00Z", "https://c.example", "A & B", "On call")


def test_tries_are_spread_over_three_days_and_end() -> None:
    planned = [schedule.pause(tries, None, 0.5) for tries in range(1, 10)]
    assert planned == list(schedule.PAUSES)
    assert 70 * 3600 < sum(schedule.PAUSES) < 80 * 3600
    assert schedule.pause(10, None, 0.5) is None
    assert schedule.pause(0, None, 0.5) is None
    assert (schedule.pause(2, None, 0.0), schedule.pause(2, None, 1.0)) == (270, 330)
    assert (schedule.pause(1, 600, 0.5), schedule.pause(1, 10**9, 0.5)) == (600, schedule.LONGEST)
    assert schedule.pause(9, 1, 0.5) == 86_400


def test_a_mail_is_plain_and_says_what_how_bad_whose_and_where() -> None:
    text = messages.text(told())
    assert text.startswith("Critical: It ends\n\nOrganisation: A & B\nWho answers for it: Ada <@U1>\n")
    assert "Where: Both environments" in text
    assert "Times: 3" in text
    assert "https://c.example/alerts/018f" in text
    assert "nobody in particular" in messages.text(told(owner_name=None, owner_id=None))
    assert "a member" in messages.text(told(owner_name=None))
    assert messages.subject(told("alert.resolved")) == "[Countersign] Critical: Over: It ends"
    assert told("alert.more").link == "https://c.example/alerts"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\r\nBcc: x@y.example", "a Bcc: x@y.example"), ("a\u202eb\u200bc", "a[U+202E]b[U+200B]c"),
        ("https://evil.example", "https[:]//evil.example"), ("x" * 400, "x" * 300),
        ("a\u2028b\ud800", "a b[U+D800]"), ("\x00\x1b[31m", "[U+0000][U+001B][31m"),
    ],
)  # fmt: skip
def test_what_is_written_shows_what_it_holds(written: str, shown: str) -> None:
    assert messages.plain(written) == shown


def test_a_header_holds_one_line_and_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "settings", lambda: type("S", (), {"mail_from": "Alerts <a@c.example>"}))
    subject = messages.subject(told(title="It ends\r\nBcc: thief@example.com"))
    written = mail.written("b@example.com", subject, messages.text(told()), "msg_1", "https://c.example")
    assert written["Bcc"] is None
    assert written["Message-ID"] == "<msg_1@c.example>"
    assert written["From"] == "Alerts <a@c.example>"
    for broken in ("b@example.com\r\nBcc: c@d.example", "b@example.com, c@d.example"):
        with pytest.raises(Exception, match=r"."):
            mail.written(broken, subject, "x", "msg_1", "https://c.example")
    with pytest.raises(ValueError, match="linefeed"):
        mail.written("b@example.com", "a\nBcc: c@d.example", "x", "msg_1", "https://c.example")


def test_mail_goes_under_tls_but_to_this_machine() -> None:
    far = mail.server("smtp://u%40x:p%2Fw@mail.example")
    assert (far["port"], far["start_tls"], far["use_tls"]) == (587, True, False)
    assert (far["username"], far["password"]) == ("u@x", "p/w")
    implicit = mail.server("smtps://mail.example")
    assert (implicit["port"], implicit["use_tls"], implicit["start_tls"]) == (465, True, False)
    assert not any(mail.server("smtp://127.0.0.1:2525")[name] for name in ("use_tls", "start_tls"))
    for wrong in ("http://mail.example", "mail.example", "smtp://", "smtp://mail.example:99999"):
        with pytest.raises(ConfigurationError):
            mail.server(wrong)


def test_slack_reads_nothing_of_it_as_markup() -> None:
    sent = json.loads(messages.slack(told(title="<!channel> & *pay*")))
    assert sent["text"] == "Critical: &lt;!channel&gt; &amp; *pay*"
    assert sent["blocks"][0]["text"] == {
        "type": "plain_text", "emoji": False,
        "text": "Critical: <!channel> & *pay*\nOrganisation: A & B\nWho answers for it: Ada <@U1>\n"
        "Where: Both environments\nTimes: 3",
    }  # fmt: skip


def test_a_webhook_is_signed_by_every_secret() -> None:
    body, secrets = messages.webhook(told()), ["whsec_" + "QUFB" * 8, "whsec_" + "QkJC" * 8]
    headers = signed("msg_1", body, secrets)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in secrets:
        read = Webhook(secret).verify(body, headers)
        assert (read["type"], read["data"]["url"]) == ("alert.raised", "https://c.example/alerts/018f")
    assert "owner_id" not in read["data"]


def test_what_an_answer_means() -> None:
    assert _ended(204, None, (410,)) == Ended("delivered")
    assert _ended(410, None, (410,)).outcome == "gone"
    assert [_ended(status, None, (410,)).outcome for status in (301, 400, 404, 500)] == ["retry"] * 4
    assert _ended(429, "120", (410,)).asked == 120
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < (_ended(503, later, (410,)).asked or 0) <= 3600
    assert [_ended(503, each, (410,)).asked for each in (None, "soon", "-1")] == [None, None, None]
    assert schedule.pause(1, _ended(503, "9" * 400, (410,)).asked, 0.5) == schedule.LONGEST


def test_a_target_shows_nothing_that_opens_it() -> None:
    url = "https://hooks.slack.com/services/T0/B0/secret"
    assert leads_to("slack", f" {url} ") == ("hooks.slack.com", url)
    shown, secret = leads_to("webhook", "https://example.com/x")
    assert (shown, (secret or "")[:6]) == ("https://example.com/x", "whsec_")
