"""Lets this process live in another time: every clock that our own code reads is off by so many seconds."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

_OURS = ("api.", "functions.")


def install(seconds: float) -> None:
    """Skews the clocks of every module of ours that is loaded by now. Monotonic clocks stay, as on a real host."""
    if not seconds:
        return
    real = time.time

    class Metaclass(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Skewed(datetime, metaclass=Metaclass):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

        @classmethod
        def fromisoformat(cls, date_string: str, /) -> Any:
            return datetime.fromisoformat(date_string)

    setattr(time, "time", lambda: real() + seconds)  # noqa: B010 - mypy knows that a module's function is no variable
    for name, module in list(sys.modules.items()):
        if name.startswith(_OURS) and getattr(module, "datetime", None) is datetime:
            setattr(module, "datetime", Skewed)  # noqa: B010
