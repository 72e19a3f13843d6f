"""What keeps a declared reasoner from working, found when a workflow version is drafted."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.gate.cel import ExpressionError
from api.gate.checks.contract import validator
from api.gate.models import Contract
from api.gate.pointer import escape
from api.gate.reasoner_spec import ModelReasoner, Proposed, ReasonerSpec, Suggesting
from api.runs.reasoners.conditions import condition
from api.runs.reasoners.filling import FillingError, Placeholder, parse, texts_of

#: What is wrong where: a JSON pointer into the spec, and a sentence.
Mistake = tuple[str, str]
#: Seconds that all tries of one ask may take: the function that asks lives for 300, and begins no step after 50.
MAX_THINKING = 240


def problems(
    spec: ReasonerSpec, contracts: Mapping[str, Contract], observation_names: frozenset[str] | set[str]
) -> list[Mistake]:
    """Every mistake in a reasoner's declaration, by where it is.

    contracts: of the tools that the workflow grants. observation_names: those that its loop makes. Whether a model
    provider of this name exists is the database's to say, when it is asked.
    """
    if isinstance(spec, ModelReasoner):
        return list(_of_model(spec))
    names = frozenset(observation_names)
    return [
        (f"/rules/{number}{at}", message)
        for number, rule in enumerate(spec.rules)
        for at, message in _of_rule(rule, contracts, names)
    ]


def _of_model(spec: ModelReasoner) -> Iterator[Mistake]:
    if spec.max_tokens >= spec.budget.tokens_per_run:
        yield "/budget/tokens_per_run", f"One answer may take {spec.max_tokens} tokens; a run needs more than that."
    if spec.max_tries * spec.timeout_seconds > MAX_THINKING:
        yield "/timeout_seconds", f"{spec.max_tries} tries may take {MAX_THINKING} s together; lower this or max_tries."
    for what in ("tokens", "cost"):
        if getattr(spec.budget, f"{what}_per_run") > getattr(spec.budget, f"{what}_per_day"):
            yield f"/budget/{what}_per_day", "A day has to have room for one run."


def _of_rule(rule: Suggesting, contracts: Mapping[str, Contract], names: frozenset[str]) -> Iterator[Mistake]:
    yield from _of_condition(rule, names)
    if rule.for_each is not None and rule.for_each.observation not in names:
        yield "/for_each/observation", _unknown(rule.for_each.observation, names)
    if rule.once_per is not None and rule.for_each is None:
        yield "/once_per", "Without for_each there are no items to tell apart."
    for number, name in enumerate(rule.propose.evidence):
        if name not in names:
            yield f"/propose/evidence/{number}", _unknown(name, names)
    yield from _of_templates(rule, names)
    contract = contracts.get(rule.propose.tool)
    if contract is None:
        yield "/propose/tool", f"The workflow is granted no tool named {rule.propose.tool}."
    elif contract.access != "write":
        yield "/propose/tool", "This tool reads; a run observes with it."
    else:
        yield from _of_args(rule.propose, contract)


def _unknown(name: str, names: frozenset[str]) -> str:
    return f"There is no observation {name}; there are {', '.join(sorted(names)) or 'none'}."


def _of_condition(rule: Suggesting, names: frozenset[str]) -> Iterator[Mistake]:
    try:
        compiled = condition(rule.when)
    except ExpressionError as error:
        yield "/when", str(error)
        return
    roots = {path[0] for path in compiled.paths}
    if "item" in roots and rule.for_each is None:
        yield "/when", "Without for_each there is no item."
    for name in sorted((compiled.observations or frozenset()) - names):
        yield "/when", _unknown(name, names)


def _of_templates(rule: Suggesting, names: frozenset[str]) -> Iterator[Mistake]:
    templates: dict[str, Any] = {"/args": rule.propose.args, "/rationale": rule.propose.rationale}
    if rule.propose.subject is not None:
        templates["/subject"] = rule.propose.subject.model_dump(exclude_none=True)
    for root, template in templates.items():
        for at, text in texts_of(template, f"/propose{root}"):
            try:
                pieces = parse(text)
            except FillingError as error:
                yield at, str(error)
                continue
            for piece in pieces:
                if isinstance(piece, Placeholder):
                    yield from _of_placeholder(at, piece, rule, names)


def _of_placeholder(at: str, piece: Placeholder, rule: Suggesting, names: frozenset[str]) -> Iterator[Mistake]:
    if piece.root == "item" and rule.for_each is None:
        yield at, f"{piece}: without for_each there is no item."
    elif piece.root == "observations":
        name = piece.pointer.partition("/")[2].partition("/")[0]
        if name not in names:
            yield at, f"{piece}: {_unknown(name, names)}"


def _of_args(proposed: Proposed, contract: Contract) -> Iterator[Mistake]:
    """Arguments that the tool does not know, lacks, or does not take as they are written."""
    known = contract.input_schema.get("properties", {})
    for name in proposed.args:
        if name not in known and contract.input_schema.get("additionalProperties") is False:
            yield f"/propose/args/{escape(name)}", f"{contract.name} takes no argument {name[:100]}."
    for name in contract.input_schema.get("required", []):
        if name not in proposed.args:
            yield "/propose/args", f"{contract.name} needs the argument {name}."
    fixed = {name: value for name, value in proposed.args.items() if name in known and not _fills(value)}
    for error in validator(contract).iter_errors(fixed):
        path = [str(part) for part in error.instance_path]
        if path:
            yield "/propose/args" + "".join(f"/{escape(part)}" for part in path), error.message[:500]


def _fills(value: Any) -> bool:
    """Whether a value has placeholders, so that nothing can be said of it yet."""
    for _, text in texts_of(value):
        try:
            if any(isinstance(piece, Placeholder) for piece in parse(text)):
                return True
        except FillingError:
            return True
    return False
