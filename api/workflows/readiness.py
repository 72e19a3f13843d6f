"""The nine controls of a workflow version, as the database found them, in the words of people."""

from collections.abc import Mapping
from typing import Any

from api.gate.models import HARD_GATES

CONTROLS = {
    1: ("Least privilege", "It can reach what its spec names, and nothing else."),
    2: ("Four eyes", "There are people to approve what it asks for, other than those who may not."),
    3: ("Audit trail", "What happens is written down, and what was written stands."),
    4: ("Credentials", "Its connections are there, its own, of this environment, and will not end tomorrow."),
    5: ("Knowing when to ask", "It asks when it is not sure, and nothing waits for ever."),
    6: ("Data", "What it may know and send is declared, and forgotten in time."),
    7: ("Undo and stop", "What it does can be found out, undone or waited for, and stopped at once."),
    8: ("Ownership", "Somebody answers for it, and somebody is looking."),
    9: ("Hard gates", "What must always wait for a person does."),
}


def presented(found: Mapping[str, Any]) -> dict[str, Any]:
    """What readiness_v1 answers, with the names of the controls.

    One check is made here: that this application holds the same effects for hard gates as the database does.
    """
    controls = [_control(control) for control in found["controls"]]
    evidence, missing = controls[8]["evidence"], controls[8]["missing"]
    if set(found["hard_gates"]) == HARD_GATES:
        evidence.append("The application and the database agree on what always waits for a person.")
    else:
        missing.append("The application and the database disagree on the hard gates. Deploy one version of both.")
        controls[8]["verified"] = False
    kept = {name: found[name] for name in ("slug", "version", "status", "environment", "checked_at")}
    return kept | {"ready": all(control["verified"] for control in controls), "controls": controls}


def _control(control: Mapping[str, Any]) -> dict[str, Any]:
    name, meaning = CONTROLS[control["control"]]
    return {
        "control": control["control"],
        "name": name,
        "meaning": meaning,
        "verified": control["verified"],
        "evidence": list(control["evidence"]),
        "missing": list(control["missing"]),
    }
