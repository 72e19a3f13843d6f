"""The risk knobs in a real browser: the score moves with them, and a button does where there is no JavaScript."""

from __future__ import annotations

from playwright.sync_api import expect

from sandbox.organisation import Organisation, ok
from tests.browser.browsing import Browsing


def test_the_score_moves_with_the_knobs(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.owner, "/risk")
    score = page.locator("#risk-score")
    expect(score).to_contain_text("With approvals only")
    browse.look(page, "risk")
    page.get_by_label("What it does").select_option("money_movement")
    page.get_by_label("Most sensitive data").fill("4")
    page.get_by_label("How freely it acts").fill("2")
    expect(page.locator("output").first).to_have_text("Financial")
    expect(page.locator("output").nth(1)).to_have_text("Autonomous")
    knobs = {"effect": "money_movement", "data_sensitivity": "financial", "autonomy": "autonomous"}
    told = ok(shared.owner.api.post("/v1/risk/score", json=knobs))
    expect(score.locator(".figure")).to_have_text(f"{told['score']} of 100")
    expect(score).to_contain_text("a person approves it, every time")
    page.get_by_label("Can be read back").check()
    expect(score.locator(".figure")).to_have_text(f"{told['score'] - 4} of 100")
    page.get_by_label("Most sensitive data").fill("6")
    expect(score).to_contain_text("Do not automate")


def test_without_script_a_button_scores(browse: Browsing, shared: Organisation) -> None:
    page = browse(shared.approver, "/risk", script=False)
    page.get_by_label("What it does").select_option("destructive")
    page.get_by_label("Known counterparty").check()
    page.get_by_role("button", name="Score it").click()
    expect(page.locator("#risk-score")).to_contain_text("a person approves it, every time")
    expect(page.get_by_label("What it does")).to_have_value("destructive")
    expect(page.get_by_label("Known counterparty")).to_be_checked()
