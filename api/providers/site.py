"""One provider as one connection sees it: its environment's addresses, our client there, the ids that were kept."""

import json
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from api.config import ConfigurationError
from api.gate.models import Access, Environment

if TYPE_CHECKING:
    from api.providers.manifest import Manifest

PLACEHOLDER = re.compile(r"{(\w+)}")
#: An address that an origin may stand for: no user, no query, nothing that could move the host.
_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*")
_ORIGIN_OF_URL = re.compile(r"https?://[^/?#]+")


@dataclass(frozen=True, slots=True)
class Site:
    """`values`: the parameters that a person gave and the ids that were kept; every one matches its pattern."""

    manifest: "Manifest"
    environment: Environment
    values: dict[str, str]

    def knowing(self, values: dict[str, str]) -> "Site":
        """The same site with more values."""
        return replace(self, values=self.values | values)

    def origin(self, name: str) -> str:
        """The address that an origin's name stands for.

        Raises ConfigurationError when a setting or a value is missing, or when they make no address.
        """
        text = self.manifest.origins[self.environment][name]
        address = os.environ.get(text[1:], "") if text.startswith("$") else self.text(text)
        address = address.rstrip("/")
        if not _ADDRESS.fullmatch(address) or not (text.startswith("$") or address.startswith("https://")):
            if text.startswith("$") and not address:
                raise ConfigurationError(f"{self.manifest.title} is not configured: {text[1:]} is missing.")
            raise ConfigurationError(f"{self.manifest.title} is not configured: {name} is no address.")
        return address

    def text(self, template: str) -> str:
        """A template over values alone, as it is."""
        return PLACEHOLDER.sub(lambda found: self._value(found[1]), template)

    def expand(self, template: str) -> str:
        """An address with its origins and values filled in; a value is one percent-encoded piece."""
        origins = self.manifest.origins[self.environment]
        return PLACEHOLDER.sub(
            lambda found: self.origin(found[1]) if found[1] in origins else self.piece(found[1]), template
        )

    def url(self, template: str) -> str:
        """An address as it is called: expanded, and rewritten where COUNTERSIGN_PROVIDER_ORIGINS says so."""
        return rewritten(self.expand(template))

    def piece(self, name: str) -> str:
        """A value as one piece of a path or query."""
        value = self._value(name)
        if value in ("", ".", ".."):
            raise ConfigurationError(f"The connection's {name} cannot be part of an address; connect it again.")
        return quote(value, safe="")

    def _value(self, name: str) -> str:
        if name not in self.values:
            raise ConfigurationError(f"The connection does not know its {name}; connect it again.")
        return self.values[name]

    @property
    def issuer(self) -> str | None:
        """What `iss` must be (RFC 9207): the provider's own name for itself, never rewritten; None when it has none."""
        return None if self.manifest.oauth.issuer is None else self.expand(self.manifest.oauth.issuer)

    def client(self) -> tuple[str, str]:
        """Our client id and secret at this provider; ConfigurationError naming the settings that are missing."""
        prefix = self.manifest.client.get(self.environment, self.manifest.name.upper())
        pair = os.environ.get(f"{prefix}_CLIENT_ID", ""), os.environ.get(f"{prefix}_CLIENT_SECRET", "")
        if not all(pair):
            raise ConfigurationError(
                f"{self.manifest.title} is not configured: {prefix}_CLIENT_ID and {prefix}_CLIENT_SECRET are missing."
            )
        return pair

    def authorization_url(self, access: Access, redirect_uri: str, state: str, challenge: str) -> str:
        """Where a person consents (RFC 6749 section 4.1.1, RFC 7636)."""
        oauth = self.manifest.oauth
        asked = self.manifest.scopes(access)
        parameters = {
            "response_type": "code",
            "client_id": self.client()[0],
            "redirect_uri": redirect_uri,
            **({oauth.scopes.parameter: oauth.scopes.separator.join(asked)} if oauth.scopes.sent and asked else {}),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **{name: self.text(value) for name, value in oauth.authorize_parameters.items()},
        }
        return f"{self.url(oauth.authorize_url)}?{urlencode(parameters)}"


def rewritten(url: str) -> str:
    """The address with its origin replaced as the deployment says: for test doubles and static-egress gateways."""
    replacements = _replacements(os.environ.get("COUNTERSIGN_PROVIDER_ORIGINS", ""))
    origin = _ORIGIN_OF_URL.match(url)
    if origin is None or origin[0] not in replacements:
        return url
    return replacements[origin[0]] + url[origin.end() :]


@lru_cache(maxsize=8)
def _replacements(setting: str) -> dict[str, str]:
    try:
        mapping: Any = json.loads(setting or "{}")
    except ValueError:
        mapping = None
    if not isinstance(mapping, dict) or not all(
        isinstance(new, str) and _ORIGIN_OF_URL.fullmatch(old.rstrip("/")) and _ADDRESS.fullmatch(new.rstrip("/"))
        for old, new in mapping.items()
    ):
        raise ConfigurationError("COUNTERSIGN_PROVIDER_ORIGINS must be a JSON object: origin to replacement.")
    return {old.rstrip("/"): new.rstrip("/") for old, new in mapping.items()}
