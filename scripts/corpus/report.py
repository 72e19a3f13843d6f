"""What was measured, as text for people and as JSON for machines."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from scripts.corpus.cases import Case
from scripts.corpus.measure import Measured, Tally, Verdict

#: Proposals that a list shows before it says how many more there are.
_SHOWN = 40
_COLUMNS = f"{'attacks':>8} {'executed':>9} {'blind':>6} {'benign':>7} {'alone':>6} {'share':>7} {'waiting':>8}"


def text(measured: Measured, *, every: bool = False) -> str:
    """The whole report; with `every`, lists are not cut short."""
    parts = [_totals(measured)]
    parts += [_table(name, tallies) for name, tallies in measured.by.items()]
    parts.append(_checks(measured))
    limit = None if every else _SHOWN
    parts += _list("CARRIED OUT: attacks that no check stopped", measured.executed, limit)
    parts += _list("WENT AHEAD: work that has to wait for a person", measured.let_through, limit)
    parts += _list("STOPPED: work that need not wait", measured.stopped, limit)
    return "\n\n".join(parts)


def document(measured: Measured) -> dict[str, Any]:
    """The same for machines. Counts are of proposals."""
    return {
        "scenarios": len(measured.scenarios),
        "cases": len(measured.cases),
        "under_attack": _tally(measured.under_attack),
        "quiet": _tally(measured.quiet),
        "by": {name: {each: _tally(tally) for each, tally in rows.items()} for name, rows in measured.by.items()},
        "checks": {check: {"objected": n, "alone": measured.only[check]} for check, n in measured.objected.items()},
        "executed": [_verdict(verdict) for verdict in measured.executed],
        "let_through": [_verdict(verdict) for verdict in measured.let_through],
        "stopped": [_verdict(verdict) for verdict in measured.stopped],
    }


def listing(cases: Iterable[Case]) -> str:
    """Every case: its id, how the attacker's words came in, and how many proposals there are of each kind."""
    return "\n".join(
        f"{case.id}  {case.scenario.channel}  attacks {len(case.scenario.attacks)}, benign {len(case.scenario.benign)}"
        for case in cases
    )


def shown(case: Case) -> str:
    """One case in full: what was asked, what was read, and what the gate said of each proposal."""
    from scripts.corpus.measure import verdicts

    lines = [f"{case.id} ({case.scenario.channel})", f"asked: {case.scenario.instruction}"]
    for seen in case.observations:
        lines += [f"read with {seen.tool}: {seen.result!r}", f"    labels: {seen.labels}"]
    for verdict in verdicts([case]):
        lines += ["", f"{verdict.id}: {verdict.decision.outcome.value}: {verdict.proposed.does}"]
        lines.append(f"    {verdict.proposed.tool} {case.args_of(verdict.proposed)!r}")
        lines += [
            f"    {finding.outcome.value:8} {finding.check}: {finding.message}" for finding in verdict.decision.findings
        ]
    return "\n".join(lines)


def _totals(measured: Measured) -> str:
    attacked, quiet = measured.under_attack, measured.quiet
    lines = [
        f"{len(measured.scenarios)} scenarios, {len(measured.cases)} cases, {attacked.attacks} attacks",
        f"carried out: {attacked.executed}",
        f"seen only by a check that looks at no argument: {attacked.blind}",
        f"work done without a person, under attack: {attacked.alone} of {attacked.benign} ({attacked.share:.1%})",
    ]
    if quiet.benign:
        lines.append(f"work done without a person, undisturbed: {quiet.alone} of {quiet.benign} ({quiet.share:.1%})")
    lines.append(f"work that waits for a person by design: {attacked.waiting + quiet.waiting}")
    return "\n".join(lines)


def _table(name: str, tallies: dict[str, Tally]) -> str:
    width = max(len(name), *map(len, tallies))
    lines = [f"{name:<{width}} {_COLUMNS}"]
    for each, t in tallies.items():
        share = f"{t.share:.0%}" if t.benign else "-"
        counts = f"{t.attacks:8} {t.executed:9} {t.blind:6} {t.benign:7} {t.alone:6} {share:>7} {t.waiting:8}"
        lines.append(f"{each:<{width}} {counts}")
    return "\n".join(lines)


def _checks(measured: Measured) -> str:
    lines = [f"{'check':<16} {'attacks it objected to':>23} {'which nothing else did':>23}"]
    lines += [f"{check:<16} {n:23} {measured.only[check]:23}" for check, n in measured.objected.most_common()]
    return "\n".join(lines)


def _list(title: str, found: list[Verdict], limit: int | None) -> list[str]:
    """Proposals of one scenario that came out alike are one paragraph, with the encodings in which they did."""
    if not found:
        return []
    paragraphs = []
    for (scenario, does, tool), alike in groupby(sorted(found, key=_alike), key=_alike):
        group = list(alike)
        encodings = ", ".join(verdict.case.encoding for verdict in group)
        lines = [f"{scenario} [{encodings}]: {does} ({tool} {group[0].case.args_of(group[0].proposed)!r})"]
        lines += [f"    {check}: {message}" for check, message in group[0].objections.items()]
        paragraphs.append("\n".join(lines))
    left = paragraphs[limit:] if limit is not None else []
    more = [f"and {len(left)} more; --all shows them"] if left else []
    return ["\n".join([f"{title} ({len(found)})", *paragraphs[:limit], *more])]


def _alike(verdict: Verdict) -> tuple[str, str, str]:
    return f"{verdict.case.world_id}/{verdict.case.scenario.id}", verdict.proposed.does, verdict.proposed.tool


def _tally(tally: Tally) -> dict[str, Any]:
    return asdict(tally) | {"share": round(tally.share, 4)}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.id,
        "does": verdict.proposed.does,
        "tool": verdict.proposed.tool,
        "args": verdict.case.args_of(verdict.proposed),
        "outcome": verdict.decision.outcome.value,
        "objections": verdict.objections,
    }
