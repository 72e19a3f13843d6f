"""What a form of ours sends: read strictly, and only from a page of our own (OWASP: defence against CSRF).

Two proofs are asked for. The browser says where the request comes from (`Origin`, which no page can change), and every
form of a session carries a token that only that session's pages hold.
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.config import settings
from api.dashboard import identity, visitor
from api.dashboard.session import Session, read
from api.dashboard.visitor import Visitor
from api.db import Idempotency
from api.errors import Problem
from api.gate.complaint import said
from api.gate.pointer import escape

MAX_BYTES = 1_000_000
MAX_FIELDS = 2000
_Model = TypeVar("_Model", bound=BaseModel)
_ONCE = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, each with every value that it was given, in order."""

    fields: dict[str, list[str]]
    path: str

    def text(self, name: str) -> str:
        """The one value of a field, without the white space around it; '' when it was left out."""
        return self.fields.get(name, [""])[-1].strip()

    def raw(self, name: str) -> str:
        """The one value of a field as it was typed: a password may begin with a space."""
        return self.fields.get(name, [""])[-1]

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be given several times, the empty ones left out."""
        return [value.strip() for value in self.fields.get(name, []) if value.strip()]

    def starting(self, prefix: str) -> dict[str, list[str]]:
        """The fields whose names begin so, without that beginning."""
        return {name[len(prefix) :]: values for name, values in self.fields.items() if name.startswith(prefix)}

    @property
    def once(self) -> Idempotency:
        """The idempotency key of this form, made with its page: to send a form twice does its work once.

        Raises Problem 400 when the page did not carry one.
        """
        key = self.text("once")
        if not _ONCE.fullmatch(key):
            raise Problem(400, "form_incomplete", "This form is not whole. Load the page again.")
        asked = {name: values for name, values in sorted(self.fields.items()) if name not in ("csrf", "once", "totp")}
        digest = hashlib.sha256(f"{self.path}\n{json.dumps(asked)}".encode())
        return Idempotency(key, digest.hexdigest())


async def _form(request: Request) -> Form:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Problem(413, "body_too_large", f"A form holds at most {MAX_BYTES:,} bytes.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/x-www-form-urlencoded":
        raise Problem(415, "unsupported_media_type", "Send the form as the page has it.")
    if body.count(b"&") >= MAX_FIELDS:
        raise Problem(413, "body_too_large", f"A form holds at most {MAX_FIELDS:,} fields.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict")
    except ValueError:
        raise Problem(400, "form_incomplete", "This form cannot be read. Load the page again.") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise Problem(422, "invalid_text", "A text holds a character that cannot be kept (NUL).")
        fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Form(fields, request.url.path)


def require_own_page(request: Request) -> None:
    """Refuses what another site's page sent. Raises Problem 403."""
    origin = request.headers.get("origin")
    # Browsers send it with every POST; one that does not says at least whose page it was.
    site = request.headers.get("sec-fetch-site")
    own = site == "same-origin" if origin is None else origin == settings().public_url
    if not own:
        raise Problem(403, "another_page", "This was not sent from a page of Countersign. Open the page and try again.")


async def open_form(request: Request) -> Form:
    """A form that somebody fills in who is not signed in."""
    require_own_page(request)
    return await _form(request)


async def form(request: Request) -> Form:
    """A form of whoever is signed in. Raises Problem 403 when it is another session's, or another site's."""
    require_own_page(request)
    sent = await _form(request)
    session: Session | None = read(request)
    if session is None:
        raise visitor.SignInNeededError
    if not hmac.compare_digest(sent.text("csrf").encode(), session.csrf.encode()):
        raise Problem(403, "another_page", "This page belongs to another session. Load it again, then send it.")
    return sent


async def stepped_up(who: Visitor, sent: Form, request: Request) -> Visitor:
    """The visitor at aal2, when the form carries the code of their second factor (field `totp`); else as they were.

    The page's session is at aal2 from then on. Raises Problem 422 for a wrong code.
    """
    code = sent.text("totp").replace(" ", "")
    if who.aal == "aal2" or not code:
        return who
    request.state.session = await identity.step_up(who.session, code)
    return await visitor.placed(await visitor.of(request.state.session, request))


def filled(model: type[_Model], values: dict[str, Any]) -> _Model:
    """The model of what a person filled in. Raises Problem 422 that names each field and what is wrong with it."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = [
            {"pointer": "".join(f"/{escape(str(part))}" for part in each["loc"]), "message": said(each["msg"])}
            for each in error.errors(include_url=False, include_input=False)[:50]
        ]
        raise Problem(422, "invalid_request", "Some of this cannot be taken as it is.", wrong) from None


OpenForm = Annotated[Form, Depends(open_form)]
Sent = Annotated[Form, Depends(form)]
