"""A process that has payments approved, and executes them at a steady pace against a ledger, until it is refused.

Arguments: the database's address, how many payments, how many a second, how many refusals, the ledger, and claims and
a proposal to go by. It goes on until its input has ended and it was refused so often, and keeps so many payments for
the time after the end of its input. The ledger stands for the bank: one line for each payment, written after the
sending was granted and at no other time. It prints how many were executed, and how many refused by what.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections import Counter
from hashlib import sha256
from typing import Any

import psycopg
import rfc8785
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.db.names import soon


class Payer:
    """One connection, and what is done on it as one after the other of those who take part."""

    def __init__(self, url: str, claims: dict[str, Any], template: dict[str, Any]) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.claims, self.template = claims, template

    def call(self, who: str, function: str, args: dict[str, Any]) -> dict[str, Any]:
        statement = "select app.call_v1(%s, %s, %s, null, null)"
        row = self.connection.execute(statement, (json.dumps(self.claims[who]), function, Jsonb(args))).fetchone()
        assert row is not None
        result: dict[str, Any] = row[0]["result"]
        return result

    def approved(self) -> str:
        """A payment that was proposed and approved; its id."""
        payload = json.loads(self.template["payload"])
        payload["args"]["reference"] = str(uuid.uuid4())
        canonical = rfc8785.dumps(payload).decode()
        digest = "sha256:" + sha256(canonical.encode()).hexdigest()
        own = {name: str(new_id()) for name in ("id", "decision_id", "exception_id")}
        self.call("agent", "record_action_v1", self.template | own | {"payload": canonical, "digest": digest})
        verdict = {"id": own["exception_id"], "approval_id": str(new_id()), "verdict": "approve", "digest": digest}
        verdict |= {"reason": "seen", "approval_expires_at": soon(hours=12)}
        assert self.call("person", "decide_exception_v1", verdict)["status"] == "approved"
        return own["id"]

    def execute(self, action_id: str, ledger: int) -> str:
        """Claims, has the sending granted, pays and finishes, as api/execution does; how that ended."""
        claim = {"action_id": action_id, "attempt_id": str(new_id()), "lease_seconds": 60}
        claimed = self.call("executor", "claim_attempt_v1", claim)
        if not claimed["claimed"]:
            return str(claimed["reason"])
        fenced = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"]}
        try:
            sent = claimed["sent"] or self.call("executor", "send_attempt_v1", fenced)["sent"]
        except psycopg.Error as error:
            return str(error.diag.message_detail)
        if not sent:
            return "not_sent"
        os.write(ledger, f"{action_id} {time.time()}\n".encode())
        time.sleep(0.005)  # the bank's answer
        finished = self.call("executor", "finish_attempt_v1", fenced | {"outcome": "succeeded"})
        return str(finished["status"])


def main(url: str, count: str, rate: str, refusals: str, ledger: str, claims: str, template: str) -> None:
    """Says `ready` when all are approved, and begins with the first line of input."""
    payer = Payer(url, json.loads(claims), json.loads(template))
    waiting = [payer.approved() for _ in range(int(count))]
    over = threading.Event()
    print("ready", flush=True)  # noqa: T201 - to who started it
    sys.stdin.readline()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    ended: Counter[str] = Counter()
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    due = time.monotonic()
    while not over.is_set() or ended["kill_switch_engaged"] < int(refusals):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / float(rate)
        if len(waiting) <= int(refusals):
            over.wait()
        # What is refused stays authorized, and is asked for again.
        action_id = waiting.pop(0)
        how = payer.execute(action_id, file)
        if how != "succeeded":
            waiting.append(action_id)
        ended[how] += 1
        if not waiting:
            break
    print(json.dumps(ended), flush=True)  # noqa: T201 - to who started it


if __name__ == "__main__":
    main(*sys.argv[1:8])
