"""What other slices and the routes ask of execution."""

from api.execution.compensate import compensate
from api.execution.dead_letters import get as get_dead_letter
from api.execution.dead_letters import list_dead_letters, requeue, requeue_many
from api.execution.execute import execute, execute_soon, expire
from api.execution.look import has_a_way, look, target
from api.execution.reconcile import look_up, reconcile
from api.execution.undo_preview import preview as undo_preview
from api.execution.undo_runs import pursue, pursue_due, pursue_soon, undo_run
from api.execution.undo_runs import report as undo_report

__all__ = [
    "compensate",
    "execute",
    "execute_soon",
    "expire",
    "get_dead_letter",
    "has_a_way",
    "list_dead_letters",
    "look",
    "look_up",
    "pursue",
    "pursue_due",
    "pursue_soon",
    "reconcile",
    "requeue",
    "requeue_many",
    "target",
    "undo_preview",
    "undo_report",
    "undo_run",
]
