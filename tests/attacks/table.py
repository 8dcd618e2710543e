"""Every attack; `python -m tests.attacks.table` prints the table of docs/THREATS.md."""

import sys
from collections.abc import Sequence
from typing import Final

from tests.attacks import (
    browsers,
    framing,
    logins,
    paths,
    probing,
    scopes,
    sizes,
    texts,
    tokens,
    uploads,
)
from tests.attacks.attack import Attack

MODULES: Final = (tokens, scopes, probing, logins, browsers, uploads, paths, framing, texts, sizes)
ATTACKS: Final[Sequence[Attack]] = [attack for module in MODULES for attack in module.ATTACKS]


def markdown() -> str:
    """The table, a line for each attack."""
    lines = ["| attack | what comes of it |", "|---|---|"]
    rows = (f"| {_cell(each.name)} | {_cell(str(each.refusal))} |" for each in ATTACKS)
    return "\n".join([*lines, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
