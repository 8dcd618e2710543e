"""What may be said of a repository, and in how many words."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from registry.errors import RegistryError
from registry.guards import check_line, invalid
from registry.organizations import UNSET, Unset

MAX_SUMMARY: Final = 200
MAX_DEPRECATION: Final = 300
MAX_CATEGORIES: Final = 3

MAX_OVERVIEW: Final = 64 * 1024
"""In bytes."""

CATEGORIES: Final = {
    "api-management": "API management",
    "base-images": "Base images",
    "content-management": "Content management",
    "data-science": "Data science",
    "databases": "Databases and storage",
    "desktop": "Desktop applications",
    "developer-tools": "Developer tools",
    "documentation": "Documentation",
    "games": "Games",
    "home": "Home automation",
    "integration": "Integration and delivery",
    "internet-of-things": "Internet of things",
    "languages": "Languages and frameworks",
    "machine-learning": "Machine learning",
    "media": "Media",
    "messaging": "Message queues",
    "monitoring": "Monitoring and observability",
    "networking": "Networking",
    "operating-systems": "Operating systems",
    "security": "Security",
    "web-servers": "Web servers",
}
"""What repositories can be about: the name of each category and its words."""


@dataclass(frozen=True, slots=True)
class RepositoryEdit:
    """What is to be different in a repository; what is left out stays as it is.

    `deprecation` is what to tell whoever pulls, None for nothing.
    """

    summary: str | Unset = UNSET
    overview: str | Unset = UNSET
    categories: Sequence[str] | Unset = UNSET
    deprecation: str | Unset | None = UNSET
    archived: bool | Unset = UNSET
    public: bool | Unset = UNSET

    @property
    def describes(self) -> bool:
        """Whether it changes what the repository says of itself."""
        said = (self.summary, self.overview, self.categories, self.deprecation)
        return any(value is not UNSET for value in said)

    @property
    def governs(self) -> bool:
        """Whether it changes who may see the repository or push to it."""
        return self.archived is not UNSET or self.public is not UNSET

    def checked(self, now: datetime) -> tuple[dict[str, object], Sequence[str] | None]:
        """Return the columns that change, and the categories, None where they stay.

        Raises:
            RegistryError: INVALID, with all that is wrong.
        """
        values: dict[str, object] = {}
        wrong: dict[str, str] = {}
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not UNSET:
                try:
                    values[name] = check(value)
                except RegistryError as error:
                    wrong |= error.detail["fields"]
        if wrong:
            raise invalid(**wrong)
        categories: Any = values.pop("categories", None)
        if self.archived is not UNSET:
            values["archived_at"] = now if self.archived else None
        if self.public is not UNSET:
            values["is_public"] = self.public
        return values, categories


def check_deprecation(text: str | None) -> str | None:
    """Return what is to be told to whoever pulls; None for nothing. Raises INVALID."""
    return None if text is None else check_line("deprecation", text, MAX_DEPRECATION) or None


def _check_summary(text: str) -> str:
    return check_line("summary", text, MAX_SUMMARY)


def _check_overview(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t" for each in text):
        raise invalid(overview="no control characters")
    if len(text.encode()) > MAX_OVERVIEW:
        raise invalid(overview=f"at most {MAX_OVERVIEW // 1024} KiB")
    return text


def _check_categories(names: Sequence[str]) -> Sequence[str]:
    chosen = list(dict.fromkeys(names))
    if len(chosen) > MAX_CATEGORIES:
        raise invalid(categories=f"at most {MAX_CATEGORIES}")
    if not CATEGORIES.keys() >= set(chosen):
        raise invalid(categories="there is no such category")
    return chosen


_CHECKS: Final[dict[str, Callable[[Any], object]]] = {
    "summary": _check_summary,
    "overview": _check_overview,
    "categories": _check_categories,
    "deprecation": check_deprecation,
}
