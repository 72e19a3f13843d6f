"""Stylesheet, module and icon, from our own origin; their addresses change with their content."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from api.errors import Problem

router = APIRouter(include_in_schema=False)
_HERE = Path(__file__).parent / "static"
_KINDS = {"countersign.css": "text/css", "countersign.js": "text/javascript", "icon.svg": "image/svg+xml"}


@router.get("/static/{name}")
async def get_static(name: str) -> Response:
    if name not in _KINDS:
        raise Problem(404, "not_found", "There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(_HERE / name, media_type=_KINDS[name], headers=headers)
