"""The dashboard, for whoever looks around after the demo: something that waits there, and a way in for its people."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Mapping
from typing import Any

import httpx

from sandbox.auth import keys
from sandbox.auth.totp import totp
from sandbox.demo.promises import expect
from sandbox.demo.screen import Screen
from sandbox.organisation import Member, Organisation, mail_to, ok, once
from sandbox.stack import Stack


def leave_waiting(organisation: Organisation, proposal: Mapping[str, Any]) -> str:
    """Proposes what waits for a person from now on; answers the path of its page."""
    with organisation.agent() as agent:
        action = ok(agent.post("/v1/actions", json=dict(proposal), headers=once()))
    expect(action["status"] == "awaiting_approval", f"A payment that a person has to approve is {action['status']}.")
    return f"/exceptions/{action['exception']['id']}"


def way_in(stack: Stack, member: Member) -> str:
    """The link of a mail that signs a person in, once, on the page that asks for their code."""
    headers = {"apikey": keys.anon_key(stack.state)}
    body = {"email": member.email, "create_user": False}
    answer = httpx.post(f"{stack.url['auth']}/auth/v1/otp", json=body, headers=headers, timeout=30, trust_env=False)
    expect(answer.is_success, f"Supabase Auth mails no link: {answer.status_code}.")
    return mail_to(stack, member.email).action_link


def invite(screen: Screen, stack: Stack, organisation: Organisation, waiting: str) -> None:
    """Says how both people sign in, and opens the page where a browser can be opened."""
    page = stack.url["api"] + waiting
    sign_in = httpx.get(page, timeout=30, trust_env=False, follow_redirects=True)
    expect(sign_in.status_code == 200 and "Sign in" in sign_in.text, f"{page} answers {sign_in.status_code}.")
    screen.say("The dashboard, where a payment waits to be decided:")
    screen.line(f"    {page}")
    for member in (organisation.approver, organisation.owner):
        screen.line(f"    {member.name}: {member.email}, password {member.password}")
    screen.say("Or without typing, once each:")
    for member in (organisation.approver, organisation.owner):
        screen.line(f"    {member.name}: {way_in(stack, member)}")
    # Only in a window of its own: a browser for text would take the terminal.
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page)


def codes(organisation: Organisation) -> str:
    """What the authenticator apps of both people show now."""
    people = (organisation.approver, organisation.owner)
    left = 30 - int(time.time()) % 30
    shown = ", ".join(f"{member.name} {totp(member.totp_secret, time.time())}" for member in people)
    return f"Second factors for the next {left} s: {shown}"
