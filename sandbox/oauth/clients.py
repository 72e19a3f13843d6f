"""The one OAuth client registered with each sandbox server."""

import secrets
from pathlib import Path

from sandbox.oauth.files import shared_secret


def client(state: Path, server_name: str) -> tuple[str, str]:
    """`(client_id, client_secret)` of `server_name` ("bank" or "crm"); random per state directory."""
    kept = shared_secret(
        state,
        server_name,
        "client",
        lambda: {
            "client_id": f"countersign-{secrets.token_hex(8)}",
            "client_secret": secrets.token_urlsafe(32),
        },
    )
    return kept["client_id"], kept["client_secret"]
