"""The demo as a newcomer starts it: a process of its own, with a state directory of its own."""

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sandbox import postgres
from sandbox.ports import is_free
from sandbox.processes import of_cluster
from sandbox.state import CHECKOUT

SECONDS = 600
#: Settings of whoever runs the tests: their database, their mails, and their desktop, on which a page would open.
NOT_OURS = ("DATABASE_URL", "INBOX", "DISPLAY", "WAYLAND_DISPLAY")
#: What the demo says when each of its servers has answered, and nothing has been done yet.
EVERYTHING_RUNS = "Ready after"


@contextmanager
def _demo(state: Path, *arguments: str, terminal: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A running demo, at a terminal if there is one; whatever is left of it is removed."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo", *arguments],
        cwd=CHECKOUT,
        env=environment | {"COUNTERSIGN_STATE": str(state), "TERM": "xterm"},
        text=True,
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        _remove(state)


def _remove(state: Path) -> None:
    command = [sys.executable, "-m", "sandbox.demo", "--remove"]
    environment = os.environ | {"COUNTERSIGN_STATE": str(state)}
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, timeout=SECONDS)


def _alive(state: Path) -> list[str]:
    """The names of the demo's servers that still run."""
    names = []
    for file in (state / "demo").glob("*.pid"):
        try:
            os.kill(int(file.read_text()), 0)
        except ProcessLookupError:
            continue
        names.append(file.stem)
    return names


def _bank(state: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{(state / 'demo/sandbox_bank.sqlite3').as_uri()}?mode=ro", uri=True)) as bank:
        return bank.execute(query).fetchall()


def _until(process: subprocess.Popen[str], text: str) -> str:
    """Reads the output up to a line that holds the text."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} never came:\n{read}")


def test_nobody_is_asked_and_everything_comes_out_as_promised(tmp_path: Path) -> None:
    with _demo(tmp_path) as demo:
        said, _ = demo.communicate(timeout=SECONDS)
        assert demo.returncode == 0, said
        assert "\x1b" not in said
        assert max(len(line) for line in said.splitlines()) <= 110
        words = " ".join(said.split())
        for promised in (
            "pay EUR 842.50 to Harbour Logistics BV, NL13 SAND 0417 1643 00, for HL-2026-0777",
            "rule two-for-large-payments",
            "EDITED Amara Diallo: EUR 240.00 is what the bank shows, not EUR 250.00",
            "REJECTED Amara Diallo: The bank knows another account for this: DE94 0001 2345 0532 0130 00",
            "scope (control 1): The workflow may not act on this record.",
            "gate ALLOWED",
            "CHANGED BANK DETAILS: Northwind Paper GmbH is known, but not with the account GB04SAND00999900000666.",
            "0 of them against a person's verdict",
            "adopted by Olive Marsh, as version 2; Amara Diallo alone was refused",
            "came 1 time before the rule, and not since",
            "nothing. It asks for nothing that this workflow does.",
            "2 attempts under one idempotency key, 2 deliveries, still one transfer",
            "started by its schedule; observe:bills",
            "paid EUR 275.00 to Alpine Catering GmbH",
            "and not DE94 0001 2345 0532 0130 00, by the model server's own journal",
            "paid EUR 1,299.00 to Northwind Paper GmbH, DE94 0001 2345 0532 0130 00",
            "Stopped by the kill switch on this tenant",
            "Everything is stopped.",
        ):
            assert promised in words, promised
        assert _alive(tmp_path) == []
        assert postgres.status(tmp_path / "demo") is None
        transfers = _bank(tmp_path, "select reference, amount, to_iban from transfers order by amount")
        assert transfers == [
            ("Refund SO-2201", 24000, "NL92SAND0730011255"),
            ("AC-93", 27500, "DE03000123450440201907"),
            ("HL-2026-0777", 84250, "NL13SAND0417164300"),
            ("INV-1042", 129900, "DE94000123450532013000"),
            ("KS-3310", 1188000, "GB86SAND60161331926819"),
        ]
        assert _bank(tmp_path, "select balance from accounts order by id") == [(3546350,), (12000000,)]


def test_another_inbox_is_read(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "1.eml").write_bytes(
        b"From: Alpine <a@alpine.example>\nSubject: Rechnung AC-93\n\nBitte zahlen Sie 275,00 EUR (invoice AC-93).\n"
    )
    (inbox / "2.eml").write_bytes(b"\x00\xff garbage \x1b[2J")
    (inbox / "3.eml").write_bytes(b"Subject: INV-1017\n\nPlease pay INV-1017, EUR 1,299.00, again.\n")
    with _demo(tmp_path, "--inbox", str(inbox), "--yes") as demo:
        said, _ = demo.communicate(timeout=SECONDS)
        assert demo.returncode == 0, said
        assert "INV-1017 is paid already." in said
        assert "\x1b" not in said
        # The schedule's run finds no small bill any more; the model is asked about the largest.
        assert _bank(tmp_path, "select reference, amount, to_iban from transfers order by amount") == [
            ("AC-93", 27500, "DE03000123450440201907"),
            ("KS-3310", 1188000, "GB86SAND60161331926819"),
        ]


def test_a_folder_without_mails_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with _demo(tmp_path, "--inbox", str(tmp_path)) as demo:
        said, _ = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 1
    assert "there is no .eml file in" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "after"), [(signal.SIGTERM, "2. The agent reads"), (signal.SIGINT, EVERYTHING_RUNS)]
)
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals, after: str) -> None:
    with _demo(tmp_path) as demo:
        _until(demo, after)
        demo.send_signal(number)
        said, _ = demo.communicate(timeout=SECONDS)
        assert demo.returncode == 128 + number
        assert "Traceback" not in said
        assert _alive(tmp_path) == []
        assert postgres.status(tmp_path / "demo") is None


def test_what_a_killed_demo_left_is_ended_by_the_next(tmp_path: Path) -> None:
    with _demo(tmp_path) as demo:
        _until(demo, EVERYTHING_RUNS)
        server = postgres.status(tmp_path / "demo")
        assert server is not None
        ports = json.loads((tmp_path / "demo/ports.json").read_text())
        demo.kill()
        demo.wait()
        assert sorted(_alive(tmp_path)) == ["api", "auth", "bank", "crm", "models"]
    # The context's end has removed it.
    deadline = time.monotonic() + SECONDS
    while not all(is_free(port) for port in ports.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [name for name, port in ports.items() if not is_free(port)] == []
    assert of_cluster(server.data_dir) == []
    assert not (tmp_path / "demo").exists()


def _answer(terminal: int, script: Sequence[tuple[str, str]]) -> str:
    """Waits for each prompt in turn and types its answer; everything that was shown."""
    shown = ""
    for prompt, answer in script:
        before = len(shown)
        deadline = time.monotonic() + SECONDS
        while not re.search(prompt, shown[before:]):
            assert time.monotonic() < deadline, f"{prompt!r} never came:\n{shown}"
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
        os.write(terminal, answer.encode())
    return shown


def test_people_at_a_terminal_decide_and_leave_with_ctrl_c(tmp_path: Path) -> None:
    amara, olive = r"Amara Diallo \(approver\): \[a\]pprove", r"Olive Marsh \(owner\): \[a\]pprove"
    script = [
        (amara, "a\n"),  # HL-2026-0777
        (amara, "a\n"),  # KS-3310, the first of two
        (olive, "r\n"),
        ("why", "too much\n"),
        (amara, "e\n"),  # the refund: every argument is asked for
        ("to_name", "\n"),
        ("to_iban", "\n"),
        ("amount", "239.99\n"),
        ("currency", "\n"),
        ("reference", "\n"),
        ("from_account", "\n"),
        ("transaction_id", "\n"),
        ("why", "less a cent\n"),
        (amara, "s\n"),  # INV-1042
        (amara, "s\n"),  # the note with a telephone number that nobody else knows
        (amara, "s\n"),  # the note of which the agent is not sure
        (olive, "o\n"),  # the edited refund: its editor may not approve it
        (amara, "a\n"),
        (r"cannot approve it", ""),
        (olive, "a\n"),
        (amara, "a\n"),  # AC-93, by the schedule's run
        (amara, "s\n"),  # KS-3310, by the model's
        (r"a payment waits to be decided:\s+http://127.0.0.1:\d+/exceptions/", ""),
        (r"Amara Diallo: http://\S+/auth/confirm\?token_hash=", ""),
        (r"Press Ctrl-C to stop it", "\n"),
        (r"Second factors for the next \d+ s: Amara Diallo \d{6}, Olive Marsh \d{6}", "\x03"),
    ]
    terminal, there = pty.openpty()
    with _demo(tmp_path, terminal=there) as demo:
        # Ctrl-C is a signal to whoever has the terminal; without a controlling one it is sent by hand.
        shown = _answer(terminal, script)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=SECONDS) == 0, shown
        assert "\x1b[" in shown
        assert _alive(tmp_path) == []
        assert _bank(tmp_path, "select reference, amount from transfers order by amount") == [
            ("Refund SO-2201", 23999),
            ("AC-93", 27500),
            ("HL-2026-0777", 84250),
        ]
    os.close(terminal)
    os.close(there)
