"""The nine controls, live, each with its evidence: a page that can be printed for a customer's auditor."""

from fastapi import Request, Response

from api.controls import service
from api.dashboard.pages import page
from api.dashboard.routing import page_router
from api.dashboard.visitor import Reader

router = page_router()


@router.get("/controls")
async def show_controls(request: Request, who: Reader) -> Response:
    return page(who, "controls.html", request=request, shown=await service.controls(who.principal))
