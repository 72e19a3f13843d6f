"""What the bank has answered survives its being killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from sandbox.ports import Reservation
from tests.http.sandbox_bank.orders import EVERYTHING, balance, pay, payments
from tests.http.sandbox_oauth.flows import REDIRECT, Sandbox

ROOT = Path(__file__).parents[3]


def _start(state: Path, port: int) -> tuple[subprocess.Popen[str], Sandbox]:
    command = [sys.executable, "-m", "sandbox.bank", "--port", str(port), "--state", str(state)]
    process = subprocess.Popen([*command, "--redirect-uri", REDIRECT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"sandbox bank: (http://127\.0\.0\.1:(\d+))\n", line)
    assert match is not None, line
    return process, Sandbox("bank", match[1], state)


def _stop(process: subprocess.Popen[str], how: signal.Signals) -> None:
    os.kill(process.pid, how)
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.slow
def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    with Reservation() as held:  # so that nobody else has its port while it is away
        _killed_and_started_again(tmp_path, held.port)


def _killed_and_started_again(state: Path, port: int) -> None:
    process, bank = _start(state, port)
    answered: list[str] = []
    enough = threading.Event()
    try:
        issued = bank.tokens(EVERYTHING)
        headers = {"Authorization": f"Bearer {issued['access_token']}"}

        def keep_paying() -> None:
            with httpx.Client(base_url=bank.url, headers=headers, timeout=60) as api:
                for n in range(100_000):
                    try:
                        assert pay(api, f"k-{n}").status_code == 201
                    except httpx.TransportError:
                        return
                    answered.append(f"k-{n}")
                    if n == 30:
                        enough.set()

        payer = threading.Thread(target=keep_paying)
        payer.start()
        assert enough.wait(60)
    finally:
        _stop(process, signal.SIGKILL)
    payer.join(60)
    assert not payer.is_alive()

    process, again = _start(state, port)
    try:
        assert again.url == bank.url
        with httpx.Client(base_url=again.url, headers=headers, timeout=60) as api:
            for key in answered:
                assert len(payments(api, key)) == 1, "the token of before the kill still works, too"
            cut_off = payments(api, f"k-{len(answered)}")
            assert balance(api) == 5_000_000 - 100 * (len(answered) + len(cut_off))
            assert pay(api, answered[0]).headers["idempotent-replayed"] == "true"
        assert again.refresh(issued["refresh_token"]).status_code == 200
        with again.admin() as admin:
            entries = admin.get("/_log", params={"operation": "payments.create"}).json()["entries"]
        done = {entry["idempotency_key"] for entry in entries if entry["outcome"] == "done"}
        assert set(answered) <= done
    finally:
        _stop(process, signal.SIGTERM)
