"""The fault campaign, short; `make chaos` is the long one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.ground import standing
from tests.chaos.plan import FAULTS, made_from
from tests.chaos.report import disagreements, written


def test_a_plan_follows_from_its_seed() -> None:
    assert made_from(7, 100) == made_from(7, 100) != made_from(8, 100)
    plan = made_from(7, 2000)
    assert {fault.kind for fault in plan.faults} == set(FAULTS)
    assert [blow.what for blow in plan.blows].count("postgres") == 2
    assert {blow.what for blow in plan.blows} == {"worker", "postgres", "api", "bank", "crm"}
    assert min(plan.skews) < 0 or max(plan.skews) > 0


@pytest.mark.slow
def test_the_books_agree_whatever_goes_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(10**6)
    # Tokens that outlive it: an exchange that meets a kill costs a consent, which people would have to give again.
    with standing(tmp_path / "stack", access_seconds=3600) as world:
        campaign = Campaign(world, made_from(seed, 60))
        campaign.run()
        wrong = disagreements(campaign)
        text = written(campaign, wrong)
    with capsys.disabled():
        print(f"\n{text}")
    assert not wrong, f"seed {seed}: {wrong}"
    assert len(campaign.actions) == 60
