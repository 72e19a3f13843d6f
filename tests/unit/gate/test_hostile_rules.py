"""Rules written to hang or crash the process that evaluates them. Each runs where that can be survived."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.gate.models import Outcome
from tests.unit.gate.world import contract, decided, facts, proposal, spec

ROOT = Path(__file__).parents[3]

#: Decides on each (rules, args) of a file, with a doubtful agent whom only an `allow` rule could help.
CHILD = """
import json, sys, time
from tests.unit.gate.world import contract, decided, facts, proposal, spec
tool = contract(input_schema={"type": "object"}, arguments={})
for number, (rules, args) in enumerate(json.load(open(sys.argv[1]))):
    rules = [dict(when=when, effect=effect, id=f"r-{n}", lifts=["confidence"]) for n, (when, effect) in
             enumerate(rules)]
    started = time.process_time()
    decision = decided(facts(spec(), tool, rules), proposal(args, confidence=0.1))
    seconds = time.process_time() - started
    print(json.dumps([number, decision.outcome, seconds, len(decision.model_dump_json())]), flush=True)
"""

LONG = {"a": "a" * 40_000, "b": "a" * 20_000 + "b", "tz": "/dev/stdin"}
WIDE = {"a": [1] * 9_000 + [2], "b": [1] * 9_000 + [3]}
NAMES = {"a": {f"key{n}": n for n in range(2_000)}, "b": {f"key{n}": n for n in range(1, 2_001)}}

EXPRESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("now.getHours('/dev/stdin') == 0", {}),
    ("now.getHours(args.tz) == 0", LONG),
    ("now.getDayOfWeek(args.yes ? '/dev/stdin' : 'UTC') == 0", {"yes": True}),
    ("args.a.contains(args.b)", LONG),
    (" || ".join(["args.a.contains(args.b)"] * 70), LONG),
    ("args.a.contains('" + "a" * 1_900 + "b')", LONG),
    (" || ".join(["args.a.contains('" + "a" * 20 + "b')"] * 40), LONG),
    (" || ".join(["args.a == args.b"] * 90), WIDE),
    (" || ".join(["args.a == args.b"] * 90), NAMES),
    (" || ".join(["args.b in args"] * 90), LONG),
    (" || ".join(["args.a[9000] in args.b"] * 70), WIDE),
    (" && ".join(["size(args.a) == 40000"] * 75) + " && false", LONG),
    ("!" * 1_991 + "true", {}),
    ("-" * 1_989 + "1 == 1", {}),
    ("(" * 990 + "true" + ")" * 990, {}),
    ("[" * 990 + "]" * 990 + " == []", {}),
    ("{1:" * 480 + "1" + "}" * 480 + " == {}", {}),
    ("size(" * 300 + "'a'" + ")" * 300 + " == 1", {}),
    ("args" + ".a" * 990, {"a": {"a": {"a": {}}}}),
    ("args" + "['a']" * 390, {"a": {"a": {"a": {}}}}),
    ("true ? " * 200 + "false" + " : true" * 80, {}),
    ("false " + "|| false " * 200, {}),
    ("true " + "&& true " * 200 + "&& false", {}),
    ("true " + "== true " * 200, {}),
    ("args.a " + "in args " * 200, {"a": "a"}),
    ("[" + "1," * 980 + "1] == []", {}),
    ("{" + ", ".join(f"{n}: {n}" for n in range(200)) + "} == {}", {}),
    ("'" + "x" * 1_990 + "' == 'x'", {}),
    ("9" * 1_900 + " == 1", {}),
    ("1e" + "9" * 1_900 + " < 1", {}),
    ("0." + "1" * 1_900 + " > 1.0", {}),
    ("'\\" + "U0010ffff" * 200 + "' == ''", {}),
    ("args.a.matches('(a+)+$')", LONG),
    ("[1,2,3].all(x, [1,2,3].all(y, [1,2,3].all(z, true)))", {}),
    ("cel.bind(a, [1,1], cel.bind(b, [a,a], cel.bind(c, [b,b], size(c) == 2)))", {}),
    ("args[args.k]", {"k": "x" * 60_000}),
    ("args.a", {"a": "x" * 60_000}),
    ("args.a == args.a && false", {"a": "\x00" * 10_000}),
    ("google.protobuf.Any{type_url: 'type.googleapis.com/google.protobuf.Any'} == 1", {}),
]


def _outcomes(corpus: list[Any], folder: Path, seconds: float) -> list[list[Any]]:
    """What the child decided. It holds an open standard input on which nothing arrives, as a server's may be."""
    file = folder / "corpus.json"
    file.write_text(json.dumps(corpus))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            done = len(child.stdout.readlines())
            pytest.fail(f"hung on number {done}: {str(corpus[min(done, len(corpus) - 1)])[:200]}")
        outcomes = [json.loads(line) for line in child.stdout]
        assert child.returncode == 0, f"died after {len(outcomes)}: {child.stderr.read()[-500:]}"
    return outcomes


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_no_expression_hangs_crashes_or_allows(effect: str, tmp_path: Path) -> None:
    corpus = [([(when, effect)], args) for when, args in EXPRESSIONS]
    outcomes = _outcomes(corpus, tmp_path, seconds=600)
    assert len(outcomes) == len(EXPRESSIONS)
    for number, outcome, seconds, characters in outcomes:
        assert outcome in ("escalate", "deny"), EXPRESSIONS[number][0][:100]
        assert seconds < 20, EXPRESSIONS[number][0][:100]
        assert characters < 20_000, EXPRESSIONS[number][0][:100]


@pytest.mark.parametrize(("name", "args"), [("wide", WIDE), ("names", NAMES), ("long", LONG)])
def test_a_whole_constitution_of_expensive_rules_is_bounded(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    expensive = {
        "wide": " || ".join(["args.a == args.b"] * 99),
        "names": " || ".join(["args.a == args.b"] * 99),
        "long": " || ".join(["args.a.contains('" + "a" * 20 + "b')"] * 45),
    }[name]
    [[_, outcome, seconds, _]] = _outcomes([([(expensive, "allow")] * 200, args)], tmp_path, seconds=600)
    assert outcome == "escalate"
    assert seconds < 40


def test_patterns_of_tools_do_not_backtrack_for_ever(tmp_path: Path) -> None:
    child = """
import time
from tests.unit.gate.world import decided, facts, proposal
rules = [dict(id=f"r-{n}", when="true", applies_to=["*a" * 59 + "b"] * 49 + ["?*" * 60]) for n in range(200)]
decision = decided(facts(rules=rules), proposal(tool="a" * 1_000_000))
print(decision.outcome, len(decision.rules_evaluated))
"""
    ran = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=600, cwd=ROOT, check=True
    )
    assert ran.stdout.split() == ["deny", "200"]


#: Decides on one proposal of a module's making, and tells the verdict, the seconds and how many rules were cited.
ALONE = """
import time
from tests.unit.gate.world import contract, decided, facts, proposal, spec
named = {{"/to": {{"role": "recipient"}}, "/items/*/to": {{"role": "recipient"}}}}
tool = contract(input_schema={{"type": "object"}}, arguments=named)
rules, args = {rules}, {args}
held = facts(spec(), tool, rules)
try:
    proposed = proposal(args, confidence=0.1)
except (ValueError, RecursionError):
    print("refused", 0, 0)
else:
    started = time.process_time()
    decision = decided(held, proposed)
    print(decision.outcome, time.process_time() - started, len(decision.rules_evaluated))
"""
LIFTS = 'dict(id=f"r-{n}", when="true", effect="allow", lifts=["confidence"])'


@pytest.mark.parametrize(
    ("rules", "args", "verdict", "cited"),
    [
        # No API takes 10,000 rules; a table's owner could write them.
        (f"[{LIFTS} for n in range(10_000)]", "{'n': 1}", "escalate", 10_000),
        ("[dict(id=f'r-{n}', when='args.no == 1', effect='allow') for n in range(10_000)]", "{}", "escalate", 10_000),
        ("[dict(id=f'r-{n}', when=f'({n} == 1', effect='allow') for n in range(10_000)]", "{}", "escalate", 10_000),
        (f"[{LIFTS} for n in range(200)]", "{f'k{n}': n for n in range(100_000)}", "deny", 200),
        (f"[{LIFTS} for n in range(200)]", "{'items': [{'to': str(n)} for n in range(100_000)]}", "deny", 200),
        (f"[{LIFTS} for n in range(200)]", "{'items': [[[n]] for n in range(100_000)]}", "deny", 200),
        (f"[{LIFTS} for n in range(200)]", "{'a': float('nan')}", "refused", 0),
        (f"[{LIFTS} for n in range(200)]", "{'a': 2**53 + 1}", "refused", 0),
        (f"[{LIFTS} for n in range(200)]", "{'a': float('inf')}", "refused", 0),
        (f"[{LIFTS} for n in range(200)]", "{'a': '\\ud800'}", "refused", 0),
    ],
)  # fmt: skip
def test_what_is_too_much_is_refused_in_time(rules: str, args: str, verdict: str, cited: int) -> None:
    code = ALONE.format(rules=rules, args=args)
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, cwd=ROOT, check=True
    )
    outcome, seconds, evaluated = ran.stdout.split()
    assert outcome == verdict
    assert int(evaluated) == cited
    assert float(seconds) < 20


def test_nesting_beyond_what_a_body_may_have_is_no_proposal() -> None:
    code = ALONE.format(rules="[]", args="(lambda deep: [deep := {'a': deep} for _ in range(5_000)][-1])({})")
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, cwd=ROOT, check=True
    )
    assert ran.stdout.split()[0] == "refused"


@pytest.mark.parametrize(
    ("when", "args"),
    [
        ("args.amount > 1", {"\u0430mount": 5}),
        ("args['\u0430mount'] > 1", {"amount": 5}),
        ("args.amount > 1", {"amount\u200b": 5}),
        ("args.amount > 1", {"\uff41mount": 5}),
        ("args.k\u00e9y == 1", {"key": 1}),
    ],
)
def test_a_name_that_only_looks_like_another_is_another(when: str, args: dict[str, Any]) -> None:
    """An allow that reads it errs and does not lift; a deny that reads it errs and denies."""
    tool = contract(input_schema={"type": "object"}, arguments={})
    for effect, outcome in (("allow", Outcome.ESCALATE), ("deny", Outcome.DENY)):
        held = facts(spec(), tool, [{"when": when, "effect": effect, "lifts": ["confidence"]}])
        decision = decided(held, proposal(args, confidence=0.1))
        assert decision.outcome is outcome
        [found] = [f for f in decision.findings if f.check == "constitution"]
        assert "could not be evaluated" in found.message
