"""Keeps personal values and credentials out of what this process writes about itself: logs and reports of crashes."""

import logging
import traceback
from typing import Any

from api.gate.redaction import redact, redacted

#: Loggers whose records are redacted, with all below them; those of libraries that quote what they work on, too.
LOGGERS = ("countersign", "asyncio", "psycopg", "uvicorn.error", "httpx", "httpcore", "mangum", "fastapi")
#: Characters of one record that are kept: a log is read, and searching it takes time.
LONGEST = 50_000
#: Members of a report whose values are ids, names and times that Sentry made itself.
_OWN = frozenset({"event_id", "timestamp", "platform", "sdk", "contexts", "modules", "level", "release", "environment"})


class _Record(logging.LogRecord):
    """A record of which message, arguments and error's text are redacted before any handler or filter sees it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            message = self.getMessage()
        except Exception:  # of a format and arguments that do not fit; logging would print both
            message = f"{self.msg} (its arguments do not fit)"
        self.msg, self.args = _short(redact(message[: 2 * LONGEST])), None
        if self.exc_info and self.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*self.exc_info)).rstrip("\n")
            # Formatters take the text that is there. The error itself goes no further: others would write it out.
            self.exc_text, self.exc_info = _short(redact(text[-2 * LONGEST :])), None
        if self.stack_info:
            self.stack_info = _short(redact(self.stack_info))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def install() -> None:
    """Redacts every record of LOGGERS from now on, whoever handles it. Once is enough; again does nothing.

    A filter would not do: one of a logger does not see what is logged below it.
    """
    made = logging.getLogRecordFactory()
    if getattr(made, "redacts", False):
        return

    def make(name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        if any(name == ours or name.startswith(f"{ours}.") for ours in LOGGERS):
            return _Record(name, *args, **kwargs)
        return made(name, *args, **kwargs)

    make.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


def scrubbed(event: Any, _: Any = None) -> Any:
    """A report for Sentry (`before_send`) with every text in it redacted."""
    return {name: value if name in _OWN else redacted(value) for name, value in event.items()}
