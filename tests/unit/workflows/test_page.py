"""The access spec as a page: what a reviewer reads, and nothing that a spec could smuggle in."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from api.gate.models import HARD_GATES, AccessSpec, Contract
from api.providers.manifest import manifests
from api.workflows import page
from api.workflows.diff import diff
from api.workflows.document import document
from api.workflows.readiness import CONTROLS, presented
from tests.unit.workflows.specs import BILLS, CONTRACTS, NOTE, ONE, PAY, TWO, a_spec, with_tool

KNOWN = {"slug": "pay", "version": 4, "status": "in_review", "environment": "production", "checked_at": "now"}
HOSTILE = "</p><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def rendered(
    spec: AccessSpec,
    live: AccessSpec | None = None,
    missing: str | None = None,
    contracts: dict[str, Contract] | None = None,
    **changes: Any,
) -> str:
    row = {
        "slug": "pay", "title": "Pay bills", "version": 4, "status": "in_review", "environment": "production",
        "digest": "sha256:" + "ab" * 32, "spec": spec.model_dump(mode="json"), "live_version": 3 if live else None,
        "author_name": "Olive Marsh", "approver_name": None, "reason": None,
    }  # fmt: skip
    connections = {
        str(one): {"account": {"label": "Ours"}, "environment": "production", "status": "active"} for one in (ONE, TWO)
    }
    made = document(row | changes, contracts or CONTRACTS, manifests(), connections)
    made |= {"compared_with": 3 if live else None, "changes": diff(live, spec, CONTRACTS) if live else []}
    return page.render(made | {"readiness": readiness(missing)})


def readiness(missing: str | None) -> dict[str, Any]:
    controls = [
        {"control": n, "verified": not said, "evidence": ["Looked at."], "missing": [said] if said else []}
        for n in range(1, 10)
        for said in [missing if n == 4 else None]
    ]
    return presented(KNOWN | {"controls": controls, "hard_gates": sorted(HARD_GATES)})


class Text(HTMLParser):
    """The words of a page, and its tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(html: str) -> tuple[str, list[tuple[str, dict[str, str | None]]]]:
    parser = Text()
    parser.feed(html)
    return re.sub(r"\s+", " ", "".join(parser.words)), parser.tags


def test_it_begins_with_what_is_new() -> None:
    text, _ = read(rendered(a_spec(), a_spec(stage="supervised", value_max={"EUR": 1_000})))
    assert "What is new since version 3" in text
    assert "No longer waits for a person: sandbox_crm.notes.create" in text
    assert "Limit for EUR raised from 10.00 EUR to 1,000.00 EUR" in text
    assert text.index("What is new") < text.index("What it decides alone") < text.index("What always waits")


def test_it_says_what_happens_alone_and_what_waits_and_why() -> None:
    text, _ = read(rendered(a_spec()))
    alone = text[text.index("What it decides alone") : text.index("What always waits")]
    waits = text[text.index("What always waits") : text.index("What it can read")]
    assert NOTE in alone
    assert "It cannot be undone." in alone
    assert PAY in waits
    assert "It moves money. No rule and no setting lifts this." in waits
    assert "One person (role owner or approver), with a second factor must approve the exact payload." in waits


OWN = CONTRACTS[NOTE].model_copy(
    update={"name": "till.refunds.note", "provider": "tenant", "title": "Note a refund", "effect": "outbound_message",
            "execution": CONTRACTS[NOTE].execution.model_copy(update={"mode": "external"})}
)  # fmt: skip


def test_a_tool_of_ones_own_is_marked_as_ones_own_declaration() -> None:
    spec = a_spec(tools={OWN.name: {"access": "write", "irreversible_alone": True}}, connections={})
    text, _ = read(rendered(spec))
    assert "A tool that is not in force any more" in text
    text, _ = read(rendered(spec, contracts={OWN.name: OWN}))
    assert "Note a refund till.refunds.note Your own declaration: outbound message." in text
    assert "no provider vouches for it" in text
    assert "Your own declaration" not in read(rendered(a_spec()))[0]


def test_it_says_which_messages_nobody_sees_a_draft_of() -> None:
    grant = {"access": "write", "irreversible_alone": True}
    sends = {"recipients": ["@ours.example"], "templates": ["Hello {name}", HOSTILE]}
    for outbound, told in (
        (None, "Every message to an outsider is a draft that a person looks at."),
        (sends, "Of these messages to outsiders nobody sees a draft: the texts below, to @ours.example."),
        (sends | {"any_text": True, "recipients": []}, "nobody sees a draft: any text, to nobody."),
    ):
        spec = a_spec(tools={OWN.name: grant | {"outbound": outbound}}, connections={})
        text, _ = read(rendered(spec, contracts={OWN.name: OWN}))
        assert told in text
        assert (HOSTILE in text) is (outbound is not None)


def test_it_says_whose_word_is_taken_for_what_was_read() -> None:
    assert "nobody saw it read this" in read(rendered(with_tool(BILLS, asserted="contract")))[0]
    assert "nobody saw it read this" not in read(rendered(a_spec()))[0]


def test_it_says_what_holds_over_time_and_for_new_payees() -> None:
    limit = {"name": "daily", "window_hours": 24, "max_amount": 5000, "currency": "EUR", "exceeded": "deny"}
    text, _ = read(
        rendered(a_spec(limits=[limit], insiders=["@ours.example"], risk={"escalate_at": 40, "deny_at": 90}))
    )
    assert "daily: 50.00 EUR in every 24 hours; nobody can approve more." in text
    assert "2 different people approve what goes to a new payee or to new bank details." in text
    assert "From a score of 40 of 100 a person decides; from 90 it is refused." in text
    assert "No outsiders@ours.example" in text
    text, _ = read(rendered(a_spec(counterparty_approvals=1, risk={"deny_at": 101})))
    assert "One person approves what goes to a new payee" in text
    assert "From a score of 50 of 100 a person decides." in text
    assert "No ceiling over time." in text
    assert "Nobody: every recipient is an outsider." in text


def test_a_supervised_workflow_decides_nothing_alone() -> None:
    text, _ = read(rendered(a_spec(stage="supervised")))
    assert "Nothing. Whatever it wants to change waits for a person." in text


def test_it_says_what_keeps_it_from_going_live() -> None:
    text, _ = read(rendered(a_spec()))
    assert "Ready to go live" in text
    text, _ = read(rendered(a_spec(), missing="The consent ends within a week. Connect again now."))
    assert "Not ready to go live" in text
    assert "Credentials. The consent ends within a week." in text
    assert "Ready to go live" not in read(rendered(a_spec(), status="live"))[0]
    assert all(f"{number}. {name}" in text for number, (name, _) in CONTROLS.items())


def test_a_database_with_other_hard_gates_is_not_ready() -> None:
    for gates in (sorted(HARD_GATES)[1:], [*HARD_GATES, "write"]):
        controls = [{"control": n, "verified": True, "evidence": [], "missing": []} for n in range(1, 10)]
        found = presented(KNOWN | {"controls": controls, "hard_gates": gates})
        assert not found["ready"]
        assert [control["control"] for control in found["controls"] if not control["verified"]] == [9]


@pytest.mark.parametrize("field", ["purpose", "owner", "escalation_contact"])
def test_untrusted_text_stays_text(field: str) -> None:
    plain, tags = read(rendered(a_spec()))
    text, hostile_tags = read(rendered(a_spec(**{field: HOSTILE}), title=HOSTILE, reason=HOSTILE, author_name=HOSTILE))
    assert HOSTILE in text
    assert HOSTILE not in plain
    assert {tag for tag, _ in hostile_tags} <= {tag for tag, _ in tags} | {"q"}
    records = {"/from_account": [HOSTILE]}
    assert HOSTILE in read(rendered(with_tool(PAY, records=records), a_spec()))[0]


def test_it_loads_nothing_but_our_own_stylesheet_and_runs_nothing() -> None:
    _, tags = read(rendered(a_spec(), a_spec(stage="shadow")))
    names = {tag for tag, _ in tags}
    assert not names & {"script", "style", "img", "iframe", "form", "a", "object"}
    assert [attributes["href"] for tag, attributes in tags if tag == "link"] == [page.STYLESHEET]
    assert not [name for _, attributes in tags for name in attributes if name == "style" or name.startswith("on")]
    assert "unsafe" not in page.HEADERS["Content-Security-Policy"]
    assert "url(" not in page.stylesheet()
    assert "@import" not in page.stylesheet()


def test_everything_has_a_heading_and_every_label_a_target() -> None:
    _, tags = read(rendered(a_spec(), a_spec(stage="shadow")))
    ids = {attributes.get("id") for _, attributes in tags}
    assert {a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a} <= ids
    assert [tag for tag, _ in tags if tag == "h1"] == ["h1"]


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html;q=0.5, application/json", False),
        ("text/*, application/json;q=0.1", True),
        ("text/html;q=nonsense", False),
    ],
)
def test_who_asks_for_a_page_gets_one(accept: str, html: bool) -> None:
    assert page.is_preferred(accept) is html


def test_a_list_is_read_aloud_as_people_do() -> None:
    assert page.sentence(["a", "b", "c"]) == "a, b and c"
    assert page.sentence(["a"]) == "a"
    assert page.sentence([]) == "no"


def test_the_page_warns_of_reads_around_writes_that_are_not_granted() -> None:
    assert "accounts.balance, which is not granted" in rendered(a_spec())
