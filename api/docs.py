"""The API's documentation, served from our own origin: no page of ours loads anything from elsewhere."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from api.errors import Problem

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Countersign API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "none",
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout", persistAuthorization: false});
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@cache
def _assets() -> Path:
    """Where the package that carries Swagger UI keeps it; the package itself is not imported."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise Problem(404, "not_found", "This deployment carries no documentation pages; see /openapi.json.")
    return Path(spec.origin).parent / "static"


@router.get("/docs")
async def get_docs() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/{name}")
async def get_asset(name: str) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _FILES:
        raise Problem(404, "not_found", "There is no such file.")
    return FileResponse(_assets() / name, media_type=_FILES[name], headers={"Cache-Control": "public, max-age=86400"})
