"""The services of the hub, made once for a process: the interface and the pages share them."""

from collections.abc import Mapping
from dataclasses import dataclass

from registry.access_tokens import AccessTokens
from registry.accounts import StoredThrottle
from registry.administration import Administration
from registry.catalog import Catalog
from registry.config import Loaded, Settings
from registry.images import Images
from registry.invitations import Invitations
from registry.local import LocalRegistry
from registry.organizations import Organizations
from registry.people import PasswordHashing, People
from registry.search import Search
from registry.sessions import Sessions
from registry.statistics import Statistics
from registry.watch import Watch


@dataclass(frozen=True, slots=True)
class Services:
    """What people can do with the hub, each asking for the rights itself."""

    people: People
    organizations: Organizations
    invitations: Invitations
    access_tokens: AccessTokens
    sessions: Sessions
    catalog: Catalog
    statistics: Statistics
    search: Search
    images: Images
    watch: Watch
    administration: Administration


def make_services(
    settings: Settings,
    local: LocalRegistry,
    hashing: PasswordHashing,
    sources: Mapping[str, str] | None = None,
) -> Services:
    """Return the services beside a registry. `sources`: where each setting comes from, if that is known."""
    metadata = local.metadata
    loaded = Loaded(settings, dict(sources or dict.fromkeys(Settings.model_fields, "default")))
    throttle = StoredThrottle(metadata)
    return Services(
        people=People(metadata, hashing, throttle),
        organizations=Organizations(metadata, settings.organizations),
        invitations=Invitations(metadata, hashing, throttle, signup=settings.signup),
        access_tokens=AccessTokens(metadata),
        sessions=Sessions(metadata, settings.session_lifetime),
        catalog=Catalog(metadata, public=settings.default_visibility == "public"),
        statistics=local.statistics,
        search=Search(metadata),
        images=Images(metadata, local.store),
        watch=Watch(metadata),
        administration=Administration(metadata, local.store, loaded),
    )
