"""A process that proposes notes as fast as it is answered, for as long as its standard input is open.

Arguments: the API's address, a key, and the body of a proposal of which each gets a text of its own.
"""

import json
import sys
import threading
import uuid

import httpx


def main(url: str, key: str, body: str) -> None:
    """Prints how many were answered, by status."""
    proposal, counts = json.loads(body), dict[str, int]()
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False) as api:
        print("ready", flush=True)  # noqa: T201 - to who started it
        while not over.is_set():
            proposal["args"]["body"] = f"She was called ({uuid.uuid4()})."
            answer = api.post("/v1/actions", json=proposal, headers={"Idempotency-Key": str(uuid.uuid4())})
            status = answer.json().get("status", "none")
            counts[str(status)] = counts.get(str(status), 0) + 1
    print(json.dumps(counts), flush=True)  # noqa: T201 - to who started it


if __name__ == "__main__":
    main(*sys.argv[1:4])
