"""`python -m sandbox.demo [--inbox FOLDER] [--yes]`: the main job end to end, on this machine alone."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict

from api.providers.manifest import ManifestError
from sandbox.binaries import BinariesError
from sandbox.cluster import PostgresError
from sandbox.demo import dashboard, instance
from sandbox.demo.mail import MAX_MAILS, InboxError, read_folder
from sandbox.demo.promises import BrokenPromiseError
from sandbox.demo.screen import Screen
from sandbox.demo.story import Story, inbox
from sandbox.external import ExternalError
from sandbox.oauth.browser import ConsentError
from sandbox.organisation import NAME, RefusedError
from sandbox.stack import Stack, StackError, running
from sandbox.state import CHECKOUT, state_dir, write_private
from scripts.migrate import MigrationError

SHIPPED = CHECKOUT / "sandbox" / "demo" / "inbox"
FAILURES = (
    BrokenPromiseError, RefusedError, ConsentError, StackError, InboxError, instance.BusyError, BinariesError,
    PostgresError, MigrationError, ManifestError, ExternalError, httpx.HTTPError, psycopg.Error, OSError,
)  # fmt: skip


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument(
        "--inbox",
        type=Path,
        default=os.environ.get("INBOX") or SHIPPED,
        help="folder of .eml files (default: $INBOX, else the shipped ones)",
    )
    parser.add_argument("--yes", action="store_true", help="ask nobody: the demo's people decide by a stated policy")
    parser.add_argument("--remove", action="store_true", help="stop what runs and remove its state, then end")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 everything came out as promised, 1 something did not, 130 and 143 when interrupted."""
    given = _arguments(arguments)
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _leave)
    # A shell without job control starts background programs with Ctrl-C ignored, and theirs start us so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen(sys.stdout)
    try:
        if given.remove:
            instance.remove(state_dir() / "demo")
            return 0
        asks = sys.stdin.isatty() and sys.stdout.isatty() and not given.yes
        return _run(screen, given.inbox, input if asks else None)
    except KeyboardInterrupt:
        screen.line("\nStopped.")
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FAILURES as error:
        screen.line()
        screen.say(f"The demo failed: {error}", "red", "bold", indent=0)
        return 1


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _run(screen: Screen, folder: Path, ask: Callable[[str], str] | None) -> int:
    letters = read_folder(folder)
    more = f" (the first {MAX_MAILS} of them)" if len(letters) == MAX_MAILS else ""
    screen.line(
        screen.styled("Countersign: an agent proposes, rules decide, people countersign, it happens once.", "bold")
    )
    screen.say(f"Inbox: {inbox(folder)}, {len(letters)} mails{more}.", "dim", indent=0)
    screen.say("Starting Postgres, Supabase Auth, a bank, a CRM and the API, all on 127.0.0.1 ...", "dim", indent=0)
    owner_url = os.environ.get("DATABASE_URL") or None
    if owner_url:
        # As in a deployment, MIGRATIONS_DATABASE_URL is the owner's where DATABASE_URL is the application's.
        owner_url = os.environ.get("MIGRATIONS_DATABASE_URL") or owner_url
        screen.say(f"The application's tables are in {_place(owner_url)}.", "dim", indent=0)
    began = time.monotonic()
    with instance.fresh(state_dir()) as state, running(state, owner_url, tenant=NAME) as stack:
        screen.say(f"Ready after {time.monotonic() - began:.1f} s.", "dim", indent=0)
        story = Story(stack, screen, letters, ask)
        story.tell()
        _invite(screen, stack, stays=ask is not None)
        if ask is not None:
            _keep_running(screen, stack, story)
    screen.line("Everything is stopped.")
    return 0


def _place(url: str) -> str:
    """The database of a URL, without its credentials."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise ExternalError("DATABASE_URL is not the address of a Postgres") from None
    return f"{parts.get('dbname') or 'postgres'} on {parts.get('host') or 'localhost'}:{parts.get('port') or 5432}"


def _invite(screen: Screen, stack: Stack, *, stays: bool) -> None:
    """Says where the API's documentation is, having made sure that it is there."""
    docs = f"{stack.url['api']}/docs"
    answer = httpx.get(docs, timeout=30, trust_env=False)
    if answer.status_code != 200:
        raise BrokenPromiseError(f"{docs} answers {answer.status_code}.")
    screen.scene("Look around")
    screen.item("API docs", docs if stays else f"{docs} (on a terminal without --yes, the demo keeps running)")
    if not stays:
        screen.item("dashboard", f"{stack.url['api']} (likewise)")
    screen.item("logs", f"{inbox(stack.state)}/*.log, until the next demo")
    screen.line()


def _keep_running(screen: Screen, stack: Stack, story: Story) -> None:
    """Waits for Ctrl-C, which is the way to leave and no failure; tells the people's codes whenever it is asked."""
    organisation = story.organisation
    dashboard.invite(screen, stack, organisation, dashboard.leave_waiting(organisation, story.probe()))
    screen.line()
    session = stack.state / "session.env"
    lines = {
        "API": stack.url["api"],
        "KEY": organisation.key,
        "OLIVE": organisation.owner.access_token,
        "AMARA": organisation.approver.access_token,
    }
    write_private(session, "".join(f"{name}={value}\n" for name, value in lines.items()))
    screen.say("To try the API from another terminal, with the agent's key and the people's sessions (an hour):")
    # Not wrapped: made to be copied.
    screen.line(f"    . {inbox(session)}")
    screen.line('    curl -H "Authorization: Bearer $KEY" $API/v1/actions')
    screen.line('    curl -H "Authorization: Bearer $AMARA" "$API/v1/exceptions?status=open"')
    screen.line()
    screen.line(dashboard.codes(organisation))
    screen.line(screen.styled("Everything keeps running. Enter: new codes. Press Ctrl-C to stop it.", "bold"))
    try:
        while sys.stdin.readline():
            screen.line(dashboard.codes(organisation))
    except KeyboardInterrupt:
        screen.line()


if __name__ == "__main__":
    sys.exit(main())
