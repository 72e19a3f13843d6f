"""The whole of Countersign on one machine: Postgres, Supabase Auth, a bank, a CRM and the API, each its own process.

Everything listens on 127.0.0.1, on ports that are chosen once, kept, and held while the stack runs (sandbox/ports.py).
What is started here is stopped here; state lasts in the state directory, so a stopped stack starts again with its data.
"""

import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox import bootstrap, external, postgres
from sandbox.auth import keys
from sandbox.oauth import clients
from sandbox.ports import Reservation
from sandbox.state import CHECKOUT, private_dir, secret, write_private
from scripts.migrate import migrate
from scripts.publish_tools import publish

PROVIDERS = ("bank", "crm")
SERVERS = ("auth", *PROVIDERS, "api")
#: Where a tenant of the stack says that the sandbox's models are; the API reaches them on this machine instead.
MODELS_URL = "https://models.sandbox.example"
START_SECONDS = 240
#: The link of the mail templates that docs/deploy.md asks for, in the words of the Auth stand-in.
MAIL_LINK = "{site_url}/auth/confirm?token_hash={token_hash}&type={type}&next={redirect_to}"
#: Of the functions that a deployment's scheduler calls (vercel.json), those that readiness waits for, and others that
#: a stack calls by itself.
SCHEDULED = ("execute_actions", "advance_runs", "expire_exceptions", "refresh_tokens", "purge_expired")
ALSO_SCHEDULED = ("deliver_notifications",)
#: Those that a deployment calls every ten minutes or less often; here at the first tick of every sixty.
SELDOM_SCHEDULED = ("watch", "rotate_keys", "calibrate")


class StackError(RuntimeError):
    """A part did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Databases:
    """Where the application logs in, and where the Auth stand-in keeps its tables."""

    api: str
    auth: str


@dataclass
class Stack:
    """A running stack: `url[name]` of auth, bank, crm and api; use it as a context manager.

    schedule: seconds between calls of the scheduled functions; None leaves them to the caller (`tick`).
    settings: environment variables of the API beside those that the stack sets itself.
    access_logs: every part also logs each request's address.
    models: the sandbox's model provider is a part, too.
    """

    state: Path
    databases: Databases
    schedule: float | None = 1.0
    access_seconds: int = 300
    settings: Mapping[str, str] = field(default_factory=dict)
    access_logs: bool = False
    models: bool = False
    url: dict[str, str] = field(init=False, default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)
    _held: contextlib.ExitStack = field(init=False, default_factory=contextlib.ExitStack)
    _stopping: threading.Event = field(init=False, default_factory=threading.Event)

    def __enter__(self) -> Self:
        private_dir(self.state)
        end_leftovers(self.state)
        servers = (*SERVERS, "models") if self.models else SERVERS
        try:
            for name, port in _ports(self.state, servers).items():
                self._held.enter_context(port)
                self.url[name] = f"http://127.0.0.1:{port.port}"
            for name in servers:
                self.launch(name)
            for name in servers:
                self._wait(name)
        except BaseException:
            self.stop()
            raise
        if self.schedule is not None:
            threading.Thread(target=self._tick_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def cron_secret(self) -> str:
        return secret(self.state / "cron.secret")

    def environment(self) -> dict[str, str]:
        """The settings of the API: what docs/deploy.md lists, for this machine."""
        values = {
            "DATABASE_URL": self.databases.api,
            "SUPABASE_URL": self.url["auth"],
            "SUPABASE_SERVICE_KEY": keys.service_key(self.state),
            "SUPABASE_ANON_KEY": keys.anon_key(self.state),
            "COUNTERSIGN_PUBLIC_URL": self.url["api"],
            "COUNTERSIGN_KEK": f"local:{_made_once(self.state / 'kek.hex')}",
            "COUNTERSIGN_SIGNING_KEYS": _made_once(self.state / "signing.hex"),
            "CRON_SECRET": self.cron_secret,
        }
        for name in PROVIDERS:
            client_id, client_secret = clients.client(self.state, name)
            values |= {
                f"SANDBOX_{name.upper()}_URL": self.url[name],
                f"SANDBOX_{name.upper()}_CLIENT_ID": client_id,
                f"SANDBOX_{name.upper()}_CLIENT_SECRET": client_secret,
            }
        if self.models:
            values["COUNTERSIGN_PROVIDER_ORIGINS"] = json.dumps({MODELS_URL: self.url["models"]})
        return values | dict(self.settings)

    def launch(self, name: str) -> None:
        """Starts one part; `ready` says when it answers."""
        with (self.state / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *self._command(name)],
                cwd=CHECKOUT,
                env=os.environ | (self.environment() if name == "api" else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the program that started the stack, which then stops it
            )
        write_private(self.state / f"{name}.pid", str(self._processes[name].pid))

    def ready(self, name: str) -> None:
        """Waits until a part answers; StackError when it does not."""
        self._wait(name)

    def kill(self, name: str) -> None:
        """Ends one part as a crash would (SIGKILL)."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def restart(self, name: str) -> None:
        """Starts a part that was killed, on its port, with its state."""
        self.launch(name)
        self._wait(name)

    def tick(self, function: str = "execute_actions") -> dict[str, int]:
        """Calls one scheduled function, as the scheduler does."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url['api']}/cron/{function}", headers={"Authorization": f"Bearer {self.cron_secret}"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - loopback
            counts: dict[str, int] = json.load(answer)
            return counts

    def tick_all(self) -> None:
        """Calls every scheduled function once."""
        for function in SCHEDULED:
            self.tick(function)

    def stop(self) -> None:
        """Stops every part that this stack started; a Ctrl-C meanwhile is too late to matter."""
        self._stopping.set()
        with _undisturbed():
            for process in self._processes.values():
                process.terminate()
            for process in self._processes.values():
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._processes.clear()
            self._held.close()

    def _command(self, name: str) -> list[str]:
        port = self.url[name].rsplit(":", 1)[1]
        if name == "api":
            logged = ["--log-level", "info"] if self.access_logs else ["--log-level", "warning", "--no-access-log"]
            return ["-m", "uvicorn", "api.index:app", "--port", port, *logged]
        own = ["-m", f"sandbox.{name}", "--port", port, "--state", str(self.state)]
        own += ["--access-log"] if self.access_logs else []
        if name == "auth":
            site = self.settings.get("COUNTERSIGN_PUBLIC_URL", self.url["api"])
            return [*own, "--database-url", self.databases.auth, "--site-url", site, "--mail-link", MAIL_LINK]
        if name == "models":
            return own
        redirect = f"{self.url['api']}/oauth/sandbox_{name}/callback"
        return [*own, "--redirect-uri", redirect, "--access-seconds", str(self.access_seconds)]

    def _wait(self, name: str) -> None:
        path = {"auth": "/auth/v1/health", "api": "/v1/health", "models": "/v1/health"}.get(
            name, "/.well-known/oauth-authorization-server"
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._processes[name].poll() is not None:
                break
            with contextlib.suppress(OSError):
                try:
                    urllib.request.urlopen(self.url[name] + path, timeout=10).close()  # noqa: S310 - loopback
                except urllib.error.HTTPError:
                    return  # it answers, which is all that is asked
                return
            time.sleep(0.05)
        log = (self.state / f"{name}.log").read_text(errors="replace").splitlines()
        raise StackError(f"{name} did not start. Its log ends:\n" + "\n".join(log[-15:]))

    def _tick_forever(self) -> None:
        ticks = itertools.cycle(range(60))
        while not self._stopping.wait(self.schedule):
            seldom = SELDOM_SCHEDULED if next(ticks) == 0 else ()
            for function in (*SCHEDULED, *ALSO_SCHEDULED, *seldom):
                # A scheduler that gets no answer tries again at the next tick.
                with contextlib.suppress(OSError, ValueError):
                    self.tick(function)


def _ports(state: Path, servers: tuple[str, ...]) -> dict[str, Reservation]:
    """The ports of this stack, chosen once; chosen anew when somebody else has taken one meanwhile."""
    file = state / "ports.json"
    ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    if set(ports) == set(servers):
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            held = {name: taken.enter_context(Reservation(port)) for name, port in ports.items()}
            taken.pop_all()
            return held
    held = {name: Reservation() for name in servers}
    write_private(file, json.dumps({name: port.port for name, port in held.items()}))
    return held


def end_leftovers(state: Path) -> None:
    """Ends the parts that a stack of this directory left behind because it was killed itself.

    A pid from a file may by now be anybody's: only a process whose command line names the part's port is ended.
    """
    file = state / "ports.json"
    ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name, port in ports.items():
        try:
            pid = int((state / f"{name}.pid").read_text())
        except (OSError, ValueError):
            continue
        if f"--port {port}" in _command_line(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> str:
    """The command line of a living process, '' when there is none; macOS has no /proc."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds Ctrl-C off while things are put away. Signals belong to the main thread; in another nothing happens."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _made_once(file: Path) -> str:
    """32 random bytes in hexadecimal, kept in a file that is made when it is missing."""
    if not file.exists():
        write_private(file, secrets.token_hex(32))
    return file.read_text()


def prepare(server: postgres.Server, database: str = "postgres") -> Databases:
    """Bootstraps, migrates and publishes on a Postgres of ours; answers where the parts log in. Idempotent."""
    bootstrap.bootstrap(server)
    return prepare_database(server.url(database, user="postgres"), server, database)


def prepare_database(owner_url: str, server: postgres.Server, database: str) -> Databases:
    migrate(owner_url, log=lambda _: None)
    publish(owner_url, log=lambda _: None)
    bootstrap.enable_login(server, "countersign_api")
    return Databases(
        api=server.url(database, user="countersign_api"), auth=server.url(database, user="supabase_auth_admin")
    )


@contextmanager
def databases(server: postgres.Server, owner_url: str | None, tenant: str) -> Iterator[Databases]:
    """Where the parts of a stack log in: both on our server, or the application elsewhere."""
    if owner_url is None:
        yield prepare(server)
        return
    bootstrap.bootstrap(server)
    with external.prepared(owner_url, tenant=tenant) as api_url:
        yield Databases(api=api_url, auth=server.url(user="supabase_auth_admin"))


@contextmanager
def running(state: Path, owner_url: str | None = None, *, tenant: str = "") -> Iterator[Stack]:
    """The stack of a state directory with its own embedded Postgres; both are stopped at the end, their data stays.

    With `owner_url` the application's tables are in that Postgres (external.prepared says which are fit, and what
    `tenant` is for), and the embedded one serves Supabase Auth alone.
    """
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        server = postgres.start(state)
        with databases(server, owner_url, tenant) as prepared, Stack(state, prepared, models=True) as stack:
            yield stack
    finally:
        with _undisturbed():
            postgres.stop(state)
        signal.signal(signal.SIGTERM, previous)
