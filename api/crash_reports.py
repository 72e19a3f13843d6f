"""Sends unexpected errors to Sentry when `SENTRY_DSN` is set. Never a body, a header, a local variable or a person."""

import os
from functools import cache
from typing import Any

from api.redaction import scrubbed


@cache
def _sentry() -> Any:
    dsn = os.environ.get("SENTRY_DSN")
    if not dsn:
        return None
    import sentry_sdk

    sentry_sdk.init(
        dsn,
        default_integrations=False,  # they would attach requests and patch libraries
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=scrubbed,
    )
    return sentry_sdk


def report(error: Exception, request_id: str | None) -> None:
    """Reports one error under the request id that the client was given; waits at most two seconds for it to leave."""
    sentry = _sentry()
    if sentry is None:
        return
    with sentry.new_scope() as scope:
        scope.set_tag("request_id", request_id)
        scope.capture_exception(error)
    sentry.flush(timeout=2)
