"""Tasks: what their rows mean, how they are scored, and where the rows come from."""

from .custom import task_from_table
from .examples import Answer, Examples
from .known import GLUE, TASKS, get_task
from .selection import split_selection, take_shots
from .spec import TaskSpec

__all__ = [
    "GLUE",
    "TASKS",
    "Answer",
    "Examples",
    "TaskSpec",
    "get_task",
    "split_selection",
    "take_shots",
    "task_from_table",
]
