"""What is looked at around a write, and how it is undone, against the provider's stub. Each raises AssertionError."""

import copy
from collections.abc import Callable
from typing import Any

from api.execution.premises import differences
from api.execution.undo_args import Known, UnmadeError, names_of, read_args, strings, undo_args
from api.execution.undo_args import differences as state_differences
from api.gate.models import Contract
from api.gate.pointer import covers, resolve
from api.providers import client
from api.runs.minimise import trusted
from tests.providers.differences import misfits
from tests.providers.exercise import FILLED, KEY, Provider, SignedIn, contract_of, no_complaint, run
from tests.providers.shapes import Call

Make = Callable[[dict[str, Any], Known], dict[str, Any]]


class Looking:
    """One provider, signed in, and what becomes of looks at it when its records move."""

    def __init__(self, provider: Provider, signed_in: SignedIn) -> None:
        self.provider, self.signed_in = provider, signed_in
        provider.stub.filled = FILLED

    def contract(self, tool: str) -> Contract:
        return contract_of(self.provider, tool.removeprefix(f"{self.provider.manifest.name}."))

    def call(self, tool: str, args: dict[str, Any]) -> Any:
        """The answer to a call that the provider documents."""
        contract = self.contract(tool)
        assert misfits(contract.input_schema, args, f"the arguments of {tool}") == []
        token = self.signed_in.tokens.access_token
        outcome = run(client.call_tool(self.signed_in.site, contract, args, token, KEY))
        no_complaint(self.provider)
        assert (outcome.reached, outcome.error) == ("yes", None), tool
        return outcome.body

    def moved(self, tool: str, args: dict[str, Any], answer: Any, pattern: str, to: Any = None) -> Any:
        """The answer to the same call once somebody has changed what is at a pointer, to a certain value or any."""
        answers = self.provider.stub.answers
        answers[tool.removeprefix(f"{self.provider.manifest.name}.")] = changed(answer, pattern, to)
        try:
            return self.call(tool, args)
        finally:
            answers.clear()


def changed(document: Any, pattern: str, to: Any = None) -> Any:
    """A copy with another value at the first place that the pointer matches."""
    other = copy.deepcopy(document)
    place, value = next(iter(resolve(document, pattern)))
    *above, last = place.split("/")
    holder = next(iter(resolve(other, "/".join(above))))[1]
    name: Any = int(last) if isinstance(holder, list) else last.replace("~1", "/").replace("~0", "~")
    if to is not None:
        holder[name] = to
    elif isinstance(value, bool):
        holder[name] = not value
    elif isinstance(value, int | float):
        holder[name] = value + 1
    else:
        holder[name] = f"{value}-moved"
    return other


def made(contract: Contract, make: Make, template: dict[str, Any], known: Known) -> dict[str, Any]:
    """Arguments out of what is known: the trusted parts of the answer are all that is kept of it."""
    try:
        return make(template, known)
    except UnmadeError as error:
        raise AssertionError(f"{contract.name}: {error}") from None


def check_premises(looking: Looking, contract: Contract, call: Call) -> None:
    """What a write rests on can be read with its own arguments; what moves of it is noticed, and nothing else."""
    for premise in contract.rests_on:
        args = client.premise_args(contract, premise, call.args)
        was = looking.call(premise.tool, args)
        assert differences(contract, premise, call.args, was, looking.call(premise.tool, args)) == []
        for pattern in premise.same:
            where = f"{contract.name} rests on {premise.tool} {pattern}"
            assert list(resolve(was, pattern)), f"{where}: nothing is there"
            now = looking.moved(premise.tool, args, was, pattern)
            found = differences(contract, premise, call.args, was, now)
            assert found, f"{where}: it moved unnoticed"
            assert all(any(covers(one, part["pointer"]) for one in premise.same) for part in found), where
        for pattern in premise.enough:
            where = f"{contract.name} needs enough at {premise.tool} {pattern}"
            assert list(resolve(was, pattern)), f"{where}: nothing is there"
            now = looking.moved(premise.tool, args, was, pattern, to=0)
            found = differences(contract, premise, call.args, was, now)
            assert any(covers(pattern, part["pointer"]) for part in found), f"{where}: too little went unnoticed"


def check_state(looking: Looking, contract: Contract, call: Call) -> Any:
    """The state can be read, has what counts of it, and a later change of that is seen; what was read of it."""
    if contract.state is None:
        return None
    known = Known(call.args, names_of(contract), trusted(contract, call.answer))
    args = made(contract, read_args, contract.state.args, known)
    state = looking.call(contract.state.tool, args)
    for field in contract.state.fields:
        where = f"{contract.name} changes {contract.state.tool} {field}"
        assert list(resolve(state, field)), f"{where}: nothing is there"
        now = looking.moved(contract.state.tool, args, state, field)
        assert field in state_differences(contract.state.fields, state, now), f"{where}: it moved unnoticed"
    return state


def check_undo(looking: Looking, contract: Contract, call: Call, state: Any) -> None:
    """The undo is made of what is kept, and is a call that the provider documents."""
    if contract.compensate is None:
        return
    kept = trusted(contract, call.answer)
    known = Known(call.args, names_of(contract), kept, state, state)
    args = made(contract, undo_args, contract.compensate.args, known)
    looking.call(contract.compensate.tool, args)
    undo = looking.contract(contract.compensate.tool)
    if undo.state is None or not any(text.startswith("{before/") for text in strings(contract.compensate.args)):
        # Of what is deleted nothing is left that somebody could change.
        unseen = contract.state is None and contract.effect != "destructive"
        assert not unseen, f"{contract.name}: a later change would go unseen"
    if undo.state is not None and contract.state is not None:
        # Before the undo is sent, what it changes is compared with what the undone write left behind.
        assert undo.state.tool == contract.state.tool, f"{undo.name} looks elsewhere than {contract.name}"
        left = [field for field in undo.state.fields if list(resolve(state, field))]
        assert left == undo.state.fields, f"{undo.name} compares what {contract.name} does not read"


def check_all(looking: Looking) -> None:
    """Every write of a provider, with its first documented call."""
    for tool in looking.provider.manifest.tools:
        if tool.access == "write":
            contract, call = looking.contract(tool.name), looking.provider.shape.calls_of(tool.name)[0]
            check_premises(looking, contract, call)
            check_undo(looking, contract, call, check_state(looking, contract, call))
