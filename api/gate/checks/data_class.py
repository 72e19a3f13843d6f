"""Control 6: data goes where its class may go, and credentials go nowhere."""

from collections.abc import Iterator

from api.gate.case import Case
from api.gate.models import Finding, Outcome
from api.gate.pointer import covers
from api.gate.provenance import Carried, texts
from api.gate.sensitive import credentials, financial, names_a_secret

_SHOWN = 20  # one mistake repeated in a thousand items is still one to correct
_TEXT = "free_text"


def check(case: Case) -> Iterator[Finding]:
    """Denies credentials and values of the class `secret`; escalates other classes that the grant does not list.

    A value's class is that of the field that it was read from in this run, wherever it is put and however it is
    written. In free text, numbers of cards and IBANs are `financial` wherever they come from. Nothing found is quoted.
    """
    setting = f"tools.{case.proposal.tool[:120]}.data_classes"
    objections = [*_credentials(case), *_provenance(case, setting), *_detected(case, setting)]
    yield from objections[:_SHOWN]
    if case.facts.run is None:
        yield _finding(
            Outcome.ESCALATE, "What was read before this is not known, and so what it carries is not.", setting
        )
    elif not objections:
        classes = sorted({one.data_class for one in case.carried})
        said = (
            f"It carries {' and '.join(classes)} data, which may go there." if classes else "It carries no such data."
        )
        yield _finding(Outcome.ALLOW, said, setting)


def _credentials(case: Case) -> Iterator[Finding]:
    for pointer, text in texts(case):
        kinds = credentials(text)
        name = pointer.rpartition("/")[2]
        if not kinds and len(text) >= 6 and text != name and names_a_secret(name):
            kinds = [f"a value that is called {name[:40]}"]
        if kinds:
            yield _finding(
                Outcome.DENY, f"This holds {' and '.join(kinds)}. Credentials are never sent.", None, pointer
            )


def _provenance(case: Case, setting: str) -> Iterator[Finding]:
    allowed = set(case.grant.data_classes) if case.grant else set()
    for one in case.carried:
        if one.data_class == "secret":
            yield _finding(Outcome.DENY, f"{_told(one)} What is secret is never sent.", None, one.pointer)
        elif one.data_class not in allowed:
            yield _finding(
                Outcome.ESCALATE, f"{_told(one)} The tool is not given data of that class.", setting, one.pointer
            )


def _told(one: Carried) -> str:
    how = " in another form," if one.disguised else ""
    return (
        f"This carries {one.data_class} data,{how} from {one.where or 'the whole'} of observation {one.observation_id}."
    )


def _detected(case: Case, setting: str) -> Iterator[Finding]:
    if case.grant is not None and "financial" in case.grant.data_classes:
        return
    roles = {pattern: argument.role for pattern, argument in case.contract.arguments.items()} if case.contract else {}
    for pointer, text in texts(case):
        # What the contract says nothing of is read like a text.
        if all(role == _TEXT for pattern, role in roles.items() if covers(pattern, pointer)):
            for kind in financial(text):
                told = f"The text holds {kind}, which is financial data. The tool is not given data of that class."
                yield _finding(Outcome.ESCALATE, told, setting, pointer)


def _finding(outcome: Outcome, message: str, setting: str | None, pointer: str | None = None) -> Finding:
    at = None if pointer is None else f"/args{pointer}"
    return Finding(check="data_class", outcome=outcome, control=6, message=message, setting=setting, pointer=at)
