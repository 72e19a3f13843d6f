"""`python -m sandbox.auth`: run the server, rotate its signing key, or answer a TOTP challenge."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

import uvicorn

from sandbox.state import state_dir

from .app import create_app
from .keys import rotate_signing_key
from .totp import totp


class _Server(uvicorn.Server):
    """Says where it listens once it does, which is what the program that started it waits for."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"sandbox auth: {self._url}", flush=True)


def _listen(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it each answer, headers and
    # body in two writes, waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _serve(options: argparse.Namespace) -> None:
    listener = _listen(options.port)
    url = (options.public_url or f"http://127.0.0.1:{listener.getsockname()[1]}").rstrip("/")
    app = create_app(
        options.database_url,
        options.state,
        url,
        token_seconds=options.token_seconds,
        site_url=options.site_url,
        mail_link=options.mail_link,
    )
    level = "info" if options.access_log else "warning"
    config = uvicorn.Config(app, log_level=level, access_log=options.access_log)
    _Server(config, url).run(sockets=[listener])


def _arguments() -> argparse.Namespace:
    state = state_dir()
    parser = argparse.ArgumentParser(prog="python -m sandbox.auth", description=__doc__)
    parser.add_argument("--state", type=Path, default=state, help="directory of keys and mail")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--database-url", help="Postgres, as supabase_auth_admin")
    parser.add_argument("--public-url", help="the origin clients use, when it is not where this listens")
    parser.add_argument("--site-url", help="where people arrive from their mail; by default the public origin")
    parser.add_argument("--mail-link", help="the link of mails: {site_url}, {token_hash}, {type}, {redirect_to}")
    parser.add_argument("--token-seconds", type=int, default=3600, help="life of an access token")
    parser.add_argument("--access-log", action="store_true", help="log the address of every request")
    commands = parser.add_subparsers(dest="command", metavar="")
    rotate = commands.add_parser("rotate-key", help="sign with a new key; the last one stays valid")
    rotate.add_argument("--state", type=Path, default=argparse.SUPPRESS)
    code = commands.add_parser("totp", help="the code of a TOTP secret, now")
    code.add_argument("secret")
    options = parser.parse_args()
    if options.command is None and not options.database_url:
        parser.error("--database-url is required")
    return options


def main() -> None:
    options = _arguments()
    if options.command == "rotate-key":
        print(rotate_signing_key(options.state))
    elif options.command == "totp":
        print(totp(options.secret, time.time()))
    else:
        _serve(options)


if __name__ == "__main__":
    main()
