"""Tasks: what their rows mean, how they are scored, and where the rows come from."""

from .examples import Examples
from .selection import split_selection
from .spec import TASKS, TaskSpec, get_task

__all__ = ["TASKS", "Examples", "TaskSpec", "get_task", "split_selection"]
