"""Trying rules on what was decided."""

from typing import Any

from api.auth import Caller
from api.replay import service
from api.replay.models import Backtest, BacktestReport
from api.routing import slice_router

router = slice_router("constitution")


@router.post("/constitution/backtest", operation_id="backtest_constitution", response_model=BacktestReport)
async def backtest(body: Backtest, caller: Caller) -> Any:
    """Makes stored decisions again, newest first, on what each of them rested on; nothing is recorded.

    It says what rules would have decided otherwise, where a person decided against that, which decisions today's code
    makes otherwise, and which cannot be made again. Ends after `limit` decisions or 20 seconds; go on with
    `next_cursor`.
    """
    return await service.backtest(caller, body)
