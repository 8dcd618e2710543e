"""The services of the hub, made once for a process: the interface, the pages and the commands share them."""

from dataclasses import dataclass

from registry.access_tokens import AccessTokens
from registry.config import Settings
from registry.invitations import Invitations
from registry.organizations import Organizations
from registry.people import PasswordHashing, People
from registry.sessions import Sessions
from storage.metadata.engine import Metadata


@dataclass(frozen=True, slots=True)
class Services:
    """What people can do with the hub, each asking for the rights itself."""

    people: People
    organizations: Organizations
    invitations: Invitations
    access_tokens: AccessTokens
    sessions: Sessions


def make_services(settings: Settings, metadata: Metadata, hashing: PasswordHashing) -> Services:
    """Return the services over the stores."""
    return Services(
        people=People(metadata, hashing),
        organizations=Organizations(metadata, settings.organizations),
        invitations=Invitations(metadata, hashing, signup=settings.signup),
        access_tokens=AccessTokens(metadata),
        sessions=Sessions(metadata, settings.session_lifetime),
    )
