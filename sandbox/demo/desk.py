"""The people's desk: shows each exception, and takes a person's verdict on it from the keyboard or from the policy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.demo import policy
from sandbox.demo.screen import Screen, clean
from sandbox.demo.wording import control, why_stopped
from sandbox.organisation import Member, Organisation, ok, once

#: More than any inbox of the demo can bring about; an edit makes one exception more.
MAX_VERDICTS = 1000
KEYS = {"a": "approve", "r": "reject", "e": "edit", "s": "skip", "o": "other"}


@dataclass
class Approved:
    """The last approval that was sent, so that it can be sent once more."""

    api: httpx.Client
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    answer: dict[str, Any]


@dataclass
class Desk:
    """Works through the queue. `ask` reads a line from the person at the keyboard; without it the policy decides.

    run_id: only what this run has brought about.
    """

    organisation: Organisation
    screen: Screen
    ask: Callable[[str], str] | None = None
    run_id: str | None = None
    approved: Approved | None = None
    skipped: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)

    def clear(self) -> int:
        """Handles every open exception, oldest first; answers how many verdicts were given."""
        for count in range(MAX_VERDICTS):
            waiting = [e for e in self._open() if e["id"] not in self.skipped]
            if not waiting:
                return count
            self._handle(waiting[0]["id"], count + 1)
        return MAX_VERDICTS

    def _open(self) -> list[dict[str, Any]]:
        """Open exceptions, oldest first."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = {"status": "open", "limit": "200"} | ({"cursor": cursor} if cursor else {})
            answer = ok(self.organisation.approver.api.get("/v1/exceptions", params=page))
            found += [one for one in answer["items"] if self.run_id in (None, one["run_id"])]
            cursor = str(answer["next_cursor"])
            if not answer["has_more"]:
                return found[::-1]

    def _handle(self, exception_id: str, number: int) -> None:
        exception = ok(self.organisation.approver.api.get(f"/v1/exceptions/{exception_id}"))
        self._show(exception, number)
        while exception["status"] == "open":
            person = next(self._able(exception), None)
            if person is None:
                self.skipped.add(exception_id)
                self.screen.item("open", "nobody is left who may approve it: who edited or approved it cannot, again")
                return
            verdict, person = self._ask(exception, person) if self.ask else (self._decide(exception), person)
            if verdict is None:
                self.skipped.add(exception_id)
                self.screen.item("skipped", "it stays open, and expires if nobody decides it")
                return
            self._give(person, exception, verdict)
            exception = ok(person.api.get(f"/v1/exceptions/{exception_id}"))

    def _able(self, exception: dict[str, Any]) -> Iterator[Member]:
        """Who may still approve: neither who edited the payload nor who approved it already."""
        out = {approval["user_id"] for approval in exception["approvals"]} | {exception["edited_by"]}
        yield from (m for m in (self.organisation.approver, self.organisation.owner) if m.user_id not in out)

    # What is shown

    def _show(self, exception: dict[str, Any], number: int) -> None:
        screen = self.screen
        needed = exception["decision"]["required_approvals"]
        screen.line()
        title = f"{number}. {clean(exception['summary'], 80)}"
        screen.line(f"  {screen.styled(title, 'bold')}  {screen.styled(exception['severity'], 'dim')}")
        screen.item("agent", clean(exception["rationale"], 380))
        for finding in why_stopped(exception["decision"]):
            screen.item("stopped", f"{control(finding)}: {clean(finding['message'])}", "yellow")
        if exception["edited_by"]:
            screen.item("edited", f"by {self._name(exception['edited_by'])}")
        people = "person" if needed["count"] == 1 else "people"
        roles = " or ".join(needed["roles"])
        second = ", with a second factor" if needed["aal"] == "aal2" else ""
        screen.item("needs", f"{needed['count']} {people} ({roles}){second}")
        found = policy.record_of(exception)
        rows = [("", "proposed", found.title or "", "")]
        for row in policy.compare(exception, found):
            mark = {True: "same", False: screen.styled("DIFFERENT", "red", "bold"), None: ""}[row.fits]
            proposed = clean(row.proposed, 44)
            rows.append((
                screen.styled(row.name, "dim"),
                screen.styled(proposed, "red") if row.fits is False else proposed,
                clean(row.observed, 44),
                mark,
            ))  # fmt: skip
        screen.table(rows, indent=12)

    def _name(self, user_id: str) -> str:
        return next(
            (m.name for m in (self.organisation.owner, self.organisation.approver) if m.user_id == user_id), "?"
        )

    # Deciding

    def _decide(self, exception: dict[str, Any]) -> policy.Verdict:
        done = self._done if not exception["approvals"] else set()
        return policy.decide(exception, frozenset(done))

    def _ask(self, exception: dict[str, Any], person: Member) -> tuple[policy.Verdict | None, Member]:
        """Asks until there is a verdict; None skips. The person may be changed for the other one."""
        assert self.ask is not None  # noqa: S101 - only called with a keyboard
        people = {m.user_id: m for m in (self.organisation.owner, self.organisation.approver)}
        while True:
            role = "owner" if person is self.organisation.owner else "approver"
            prompt = f"  {person.name} ({role}): [a]pprove [r]eject [e]dit [s]kip [o]ther person > "
            try:
                word = KEYS.get(self.ask(self.screen.styled(prompt, "cyan")).strip().lower()[:1], "")
            except EOFError:
                self.screen.line()
                return None, person
            if word == "other":
                person = next(m for m in people.values() if m is not person)
            elif word == "approve":
                return policy.Verdict("approve", ""), person
            elif word == "reject":
                return policy.Verdict("reject", self._line("why", "rejected at the desk")), person
            elif word == "edit":
                edited = self._edit(exception["args"])
                if edited is not None:
                    return policy.Verdict("edit", self._line("why", "corrected"), edited), person
            elif word == "skip":
                return None, person

    def _line(self, name: str, default: str) -> str:
        assert self.ask is not None  # noqa: S101 - only called with a keyboard
        try:
            return self.ask(f"    {name} [{default}]: ").strip()[:2000] or default
        except EOFError:
            self.screen.line()
            return default

    def _edit(self, args: dict[str, Any]) -> dict[str, Any] | None:
        """The arguments with what the person typed over them; None when nothing was changed."""
        edited: dict[str, Any] = {}
        for name, value in policy.in_order(args):
            amount = name == "amount" and isinstance(value, int)
            typed = self._line(name, f"{value / 100:.2f}" if amount else clean(str(value)))
            if typed == (f"{value / 100:.2f}" if amount else clean(str(value))):
                edited[name] = value
            elif isinstance(value, int):
                try:
                    edited[name] = round(float(typed.replace(",", "")) * (100 if amount else 1))
                except (ValueError, OverflowError):
                    self.screen.say(f"{clean(typed, 40)} is no number; nothing was changed.", "red", indent=4)
                    return None
            else:
                edited[name] = typed
        if edited == args:
            self.screen.say("Nothing was changed.", indent=4)
            return None
        return edited

    def _give(self, person: Member, exception: dict[str, Any], verdict: policy.Verdict) -> None:
        """Sends a verdict, with the digest of the payload that was shown."""
        path = f"/v1/exceptions/{exception['id']}/decision"
        body = {"verdict": verdict.verdict, "digest": exception["digest"], "reason": verdict.reason}
        if verdict.args is not None:
            body["args"] = verdict.args
        headers = once()
        answer = person.api.post(path, json=body, headers=headers)
        if answer.status_code in (403, 409, 422) and self.ask:
            problem = answer.json()
            details = "; ".join(str(e.get("message", "")) for e in problem.get("errors") or [])
            self.screen.say(clean(f"Not accepted: {problem.get('detail', '')} {details}"), "red", indent=4)
            return
        decided = ok(answer)
        if verdict.verdict == "approve":
            self.approved = Approved(person.api, path, body, headers, decided)
            self._done.add(policy.subject_of(exception))
        self._report(person, verdict, decided)

    def _report(self, person: Member, verdict: policy.Verdict, decided: dict[str, Any]) -> None:
        given = decided.get("approvals") or {}
        said = f"{person.name}: {clean(verdict.reason)}" if verdict.reason else person.name
        if decided["status"] == "edited":
            self.screen.item(
                "EDITED", f"{said} The new payload went through the gate; somebody else approves it.", "cyan"
            )
        elif decided["status"] == "open":
            self.screen.item("approved", f"{said} ({given['given']} of {given['required']} people)", "green")
        elif decided["status"] == "approved":
            self.screen.item("APPROVED", said, "green")
        else:
            self.screen.item(decided["status"].upper(), said, "red")
