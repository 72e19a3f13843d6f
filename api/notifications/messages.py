"""What a channel is told, as text, for Slack, and as a webhook's body. Nothing that anybody wrote is markup in it."""

import json
import unicodedata
from dataclasses import dataclass
from typing import Any

#: Of a title and a name no more is told.
LONGEST = 300
_EVENTS = {
    "alert.raised": "", "alert.escalated": "Worse now: ", "alert.resolved": "Over: ", "alert.assigned": "Yours now: ",
    "alert.repeated": "Still open: ", "alert.more": "More than is told one by one: ", "channel.tested": "",
}  # fmt: skip
_SEVERITIES = {"critical": "Critical", "warning": "Warning", "info": "Note"}
_ENVIRONMENTS = {"sandbox": "Sandbox", "production": "Production", None: "Both environments"}


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell. id: the same at every try. content: of the alert (private.alert_content). at: RFC 3339.

    origin: where browsers reach the dashboard. tenant, channel: their names; no channel where owners are mailed that
    none takes it.
    """

    id: str
    event: str
    content: dict[str, Any]
    at: str
    origin: str
    tenant: str
    channel: str

    @property
    def link(self) -> str:
        """The page to look at."""
        if self.event == "channel.tested":
            return f"{self.origin}/settings/channels/{self.content['channel_id']}"
        return f"{self.origin}/alerts" + ("" if self.event == "alert.more" else f"/{self.content['alert_id']}")


def plain(text: object) -> str:
    """A text in one line that shows what it holds: no control, bidi or invisible character, and no address to click."""
    shown = []
    for character in " ".join(str(text).split())[:LONGEST]:
        kind = unicodedata.category(character)
        shown.append(f"[U+{ord(character):04X}]" if kind[0] == "C" or kind in ("Zl", "Zp") else character)
    return "".join(shown).replace("://", "[:]//")


def subject(told: Told) -> str:
    """One line: how bad, and what."""
    return f"[Countersign] {_headline(told)}"


def _headline(told: Told) -> str:
    severity = _SEVERITIES.get(str(told.content.get("severity")), "Alert")
    return f"{severity}: {_EVENTS[told.event]}{plain(told.content['title'])}"


def facts(told: Told) -> list[tuple[str, str]]:
    """What is said beside the title, each under its name."""
    said = [("Organisation", plain(told.tenant))]
    if told.event == "channel.tested":
        return said
    owner = plain(told.content.get("owner_name") or "") or (
        "a member" if told.content.get("owner_id") else "nobody in particular"
    )
    said += [("Who answers for it", owner), ("Where", _ENVIRONMENTS[told.content.get("environment")])]
    if told.content.get("occurrences", 1) > 1:
        said.append(("Times", f"{told.content['occurrences']:,}"))
    return said


def text(told: Told) -> str:
    """The body of a mail, plain text."""
    lines = [_headline(told), "", *(f"{name}: {value}" for name, value in facts(told)), "", told.link, ""]
    by = f"Told by the channel “{plain(told.channel)}”" if told.channel else "Mailed to owners, for no channel takes it"
    lines += ["--", f"{by}: {told.origin}/settings/channels"]
    return "\n".join(lines) + "\n"


def slack(told: Told) -> bytes:
    """The body for an incoming webhook of Slack; only the link is markup, and it is ours."""
    said = "\n".join([_headline(told), *(f"{name}: {value}" for name, value in facts(told))])
    blocks = [
        {"type": "section", "text": {"type": "plain_text", "text": said[:2900], "emoji": False}},
        {"type": "section", "text": {"type": "mrkdwn", "text": f"<{told.link}|Open in Countersign>"}},
    ]
    body = {
        "text": escaped(_headline(told)), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False,
        "blocks": blocks,
    }  # fmt: skip
    return json.dumps(body, ensure_ascii=False).encode()


def escaped(text: str) -> str:
    """As Slack asks for text that is not to be read as markup, mentions and links included."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def webhook(told: Told) -> bytes:
    """The payload as Standard Webhooks have it: type, timestamp, data. The same bytes at every try."""
    data = {name: value for name, value in told.content.items() if name != "owner_id"} | {"url": told.link}
    return json.dumps({"type": told.event, "timestamp": told.at, "data": data}, ensure_ascii=False).encode()
