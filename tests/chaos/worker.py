"""One executor: the scheduled functions over and over in a process of its own, until it is killed.

python -m tests.chaos.worker --skew SECONDS --function NAME ...
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib import import_module

from tests.chaos import skew

PAUSE_SECONDS = 0.15


async def work(functions: list[Callable[[datetime], Awaitable[dict[str, int]]]]) -> None:
    while True:
        for run in functions:
            try:
                await run(datetime.now(UTC))
            except Exception as error:  # a function that broke is called again at the next tick
                logging.getLogger("chaos").warning("%s: %s", type(error).__name__, error)
        await asyncio.sleep(PAUSE_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--skew", type=float, default=0)
    parser.add_argument("--function", action="append", required=True)
    options = parser.parse_args()
    functions = [import_module(f"functions.{name}").run for name in options.function]
    # What they load later is loaded now, so that no clock stays right.
    for name in ("api.execution.service", "api.connections.service", "api.providers.client"):
        import_module(name)
    skew.install(options.skew)
    asyncio.run(work(functions))


if __name__ == "__main__":
    main()
