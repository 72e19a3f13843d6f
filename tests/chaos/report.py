"""Holds what happened against what was approved, and says so in a table."""

from __future__ import annotations

from collections import Counter

from tests.chaos.campaign import Campaign
from tests.concurrency import agreement

#: Nothing more happens by itself, or a person is to look.
ENDS = frozenset(
    {"succeeded", "failed", "rejected", "expired", "superseded", "cancelled", "denied", "unknown", "dead_letter",
     "awaiting_approval"}
)  # fmt: skip


def disagreements(campaign: Campaign) -> list[str]:
    """Everything in which Countersign, its audit log and the outside world differ; nothing, if all is well."""
    statuses, wrong = campaign.statuses(), []
    found = {action: campaign.found(action) for action in campaign.actions}
    for action, done in campaign.actions.items():
        status, times = statuses[action], found[action]
        if status not in ENDS:
            wrong.append(f"{done.kind} {action} is {status}")
        if times > 1 and done.kind != "message":
            wrong.append(f"{done.kind} {action} was done {times} times")
        if status == "succeeded" and not times:
            wrong.append(f"{done.kind} {action} succeeded and was not done")
        if status in ("failed", "cancelled", "expired") and times:
            wrong.append(f"{done.kind} {action} is {status} and was done")
    wrong += _messages(campaign, found)
    wrong += _money(campaign, statuses)
    try:
        agreement.check_audit(campaign.world)
    except AssertionError as error:
        wrong.append(f"the audit log: {str(error)[:500]}")
    return wrong


def _messages(campaign: Campaign, found: dict[str, int]) -> list[str]:
    """Each once, but for those that the CRM took twice by its own fault."""
    extra = sum(times - 1 for action, times in found.items() if times and campaign.actions[action].kind == "message")
    twice = campaign.deliveries_too_many()
    return [] if extra == twice else [f"{extra} messages too many were sent; the CRM doubled {twice} by itself"]


def _money(campaign: Campaign, statuses: dict[str, str]) -> list[str]:
    """The bank's own books against what was approved and succeeded, to the cent, and its balance."""
    world = campaign.world
    approved = sum(done.amount for action, done in campaign.actions.items() if statuses[action] == "succeeded")
    booked = sum(row["amount"] for row in world.outside("bank", "select amount from transfers"))
    wrong = []
    if approved != booked:
        wrong.append(f"the bank has paid {booked} cents; approved and succeeded are {approved}")
    if world.balance() != agreement.OPENING - booked:
        wrong.append(f"the balance is {world.balance()} cents; {agreement.OPENING} less {booked} was paid")
    return wrong


def written(campaign: Campaign, wrong: list[str]) -> str:
    """The report of a campaign, as text."""
    statuses = campaign.statuses()
    ends = Counter((done.kind, statuses[action]) for action, done in campaign.actions.items())
    attempts = campaign.world.rows(
        "select attempts, count(*) as actions from (select count(*) as attempts from app.attempts"
        " where action_id = any (%s::uuid[]) group by action_id) a group by attempts order by attempts",
        list(campaign.actions),
    )
    booked = campaign.world.outside("bank", "select count(*) as n, sum(amount) as cents from transfers")[0]
    lines = [
        f"Fault campaign, seed {campaign.plan.seed}: {len(campaign.actions)} actions in {campaign.seconds:.0f} s",
        "",
        "clocks of the workers: " + ", ".join(f"{skew:+.0f} s" for skew in campaign.plan.skews),
        "",
        "ordered to go wrong, and killed",
        *_table(campaign.happened.items()),
        "",
        "met a write, by the journals of the bank and the CRM",
        *_table(campaign.hit().items()),
        "",
        "ended as",
        *_table((f"{kind} {status}", count) for (kind, status), count in ends.items()),
        "",
        "by people",
        *_table(campaign.by_hand.items() or [("nothing", 0)]),
        "",
        "attempts per action",
        *_table((f"{row['attempts']}", row["actions"]) for row in attempts),
        "",
        f"the bank's books: {booked['n']} payments, {booked['cents'] or 0} cents",
        "",
        *(
            wrong
            or ["Countersign, its audit log, the bank and the CRM tell the same story: nothing twice, nothing lost."]
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: object) -> list[str]:
    return [f"  {count:>6}  {name}" for name, count in sorted(rows, key=str)]  # type: ignore[call-overload]
