"""A parser with a fault that no random input finds, and that coverage leads to."""

from typing import Final

from tests.fuzz.parsers import Parser


def _parse(data: bytes) -> None:
    if data.startswith(b"lo") and data[2:3] == b"n" and data[3:4] == b"g":
        raise ZeroDivisionError("what nobody documented")


PARSERS: Final = {"broken": Parser(_parse, (ValueError,), (b"short",), "long")}
EXPOSED: Final = ("broken",)
