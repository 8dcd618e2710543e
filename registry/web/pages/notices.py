"""What a page says after a form was sent. A link can choose among these words and bring none of its own."""

from dataclasses import dataclass
from typing import Final, Literal

PARAMETER: Final = "notice"


@dataclass(frozen=True, slots=True)
class Notice:
    """A line on top of a page."""

    text: str
    tone: Literal["good", "plain", "bad"] = "good"


NOTICES: Final = {
    "saved": Notice("Your changes are saved."),
    "created": Notice("It is there now."),
    "deleted": Notice("It is deleted."),
    "signed-in": Notice("You are signed in."),
    "signed-out": Notice("You are signed out."),
    "welcome": Notice("Welcome! Your account is ready."),
    "edited": Notice(
        "Somebody else changed this meanwhile. Look again, then decide: nothing of yours is saved.", "bad"
    ),
    "expired": Notice("The form was open for too long. Please send it again.", "bad"),
    "password": Notice("Your password is changed. You are signed out everywhere else."),
    "revoked": Notice("It is revoked and works no longer."),
    "joined": Notice("You are a member now."),
    "left": Notice("You are no longer a member."),
    "renamed": Notice("It is renamed. Clients can still pull by the old name."),
    "moved": Notice("This repository has a new name. Clients can still pull by the old one.", "plain"),
    "starred": Notice("You starred this repository."),
    "unstarred": Notice("The star is gone."),
}


def find(code: str | None) -> Notice | None:
    """Return the notice of this code; None for one that is not among them."""
    return None if code is None else NOTICES.get(code)
