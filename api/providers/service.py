"""What can be connected."""

from api.providers.manifest import Manifest, manifests
from api.providers.models import Provider, ShownParameter, ShownScopes, ShownTool, TokenLife


def list_providers() -> list[Provider]:
    """Every provider that a manifest describes, with what a person has to know before connecting it."""
    return [_shown(manifest) for manifest in manifests().values()]


def _shown(manifest: Manifest) -> Provider:
    oauth = manifest.oauth
    return Provider(
        name=manifest.name,
        title=manifest.title,
        kind=manifest.kind,
        facts_checked=manifest.facts_checked,
        sources=manifest.sources,
        unverified=manifest.unverified,
        environments=sorted(manifest.origins),
        parameters={
            name: ShownParameter(title=parameter.title, pattern=parameter.pattern)
            for name, parameter in manifest.parameters.items()
        },
        scopes=ShownScopes(read=manifest.scopes("read"), write=manifest.scopes("write"), words=oauth.scopes.words),
        read_enforced_by=oauth.scopes.read_enforced_by,
        tokens=TokenLife(
            access_seconds=None if oauth.never_expires else oauth.default_expires_in,
            refresh_rotates=oauth.refresh_rotates,
            refresh_idle_days=oauth.refresh_idle_days,
            consent_days=oauth.consent_days,
        ),
        revocable=oauth.revoke is not None,
        tools=[
            ShownTool(name=f"{manifest.name}.{tool.name}", title=tool.title, access=tool.access, effect=tool.effect)
            for tool in manifest.tools
        ],
    )
