"""The scheduled functions: one list of them everywhere, and each leaves word that it ran."""

import json
import re
from datetime import timedelta

import pytest

from api.monitoring.heartbeats import FUNCTIONS as HEARTBEATS
from api.monitoring.routes import FUNCTIONS
from sandbox.stack import SCHEDULED
from tests.architecture.sources import ROOT, sources

MODULES = {source.path.stem: source for source in sources("functions") if "def handler(" in source.text}


def test_the_lists_agree() -> None:
    crons = json.loads((ROOT / "vercel.json").read_text(encoding="utf-8"))["crons"]
    assert {cron["path"].removeprefix("/cron/") for cron in crons} == set(FUNCTIONS) == set(MODULES)
    assert set(SCHEDULED) <= set(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_function_on_lambda_leaves_word_under_its_own_name(name: str) -> None:
    """No workflow goes live where a function that it relies on has not run: readiness reads this."""
    assert re.search(rf'run_until_complete\(noted\("{name}", run\(', MODULES[name].text)


def test_what_readiness_waits_for_is_scheduled() -> None:
    sql = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "supabase/migrations").glob("*.sql"))
    named = set(re.findall(r"private\.ran_within\('([a-z_]+)'", sql))
    assert named == set(SCHEDULED)


def test_one_turn_that_fails_is_made_good_by_the_next_before_anybody_is_called() -> None:
    crons = json.loads((ROOT / "vercel.json").read_text(encoding="utf-8"))["crons"]
    turns = {cron["path"].removeprefix("/cron/"): _minutes(cron["schedule"]) for cron in crons}
    assert {name for name, age in HEARTBEATS.items() if age <= timedelta(minutes=2 * turns[name])} == set()


def _minutes(schedule: str) -> int:
    """Between two turns of a schedule of one of the forms that are used here."""
    minute, hour = schedule.split()[:2]
    assert schedule.split()[2:] == ["*", "*", "*"]
    if hour != "*":
        return 24 * 60
    return 60 if minute.isdecimal() else int(minute.removeprefix("*/").replace("*", "1"))
