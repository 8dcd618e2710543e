"""How properties are tried here: the same examples every time, no database of them, no deadline."""

from typing import Final

from hypothesis import HealthCheck, settings

# One store serves all examples of a test: each stages under keys of its own.
PROPERTY: Final = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
