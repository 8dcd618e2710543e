"""What the interface says: a model for each kind of document, read off the values of the services."""

from datetime import date, datetime
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from auth.policy import Role
from registry.catalog import Details


def _word(value: object) -> object:
    return value.name.lower() if isinstance(value, IntEnum) else value


def _role_word(value: object) -> object:
    return Role(value).name.lower() if isinstance(value, int) else value


def _belonging(value: object) -> object:
    return {True: "owner", False: "member"}.get(value, value) if isinstance(value, bool) else value


RoleWord = Annotated[Literal["read", "write", "admin"], BeforeValidator(_role_word)]
PermissionWord = Annotated[Literal["read", "write", "delete", "admin"], BeforeValidator(_word)]


class Model(BaseModel):
    """A document."""

    model_config = ConfigDict(frozen=True, from_attributes=True, populate_by_name=True)


# -- people ----------------------------------------------------------------------------------------------


class Profile(Model):
    """A person, or an organization, as others see it."""

    name: str
    full_name: str
    about: str
    website: str
    organization: bool = Field(validation_alias="is_organization")
    disabled: bool
    admin: bool = Field(validation_alias="is_admin")
    myself: bool = Field(validation_alias="is_self")
    organizations: list[str]
    repository_count: int
    created_at: datetime
    version: int


class Person(Model):
    """A person as administrators see it."""

    name: str
    full_name: str
    admin: bool = Field(validation_alias="is_admin")
    disabled: bool
    created_at: datetime
    last_seen_at: datetime | None


class Session(Model):
    """Where somebody is signed in."""

    id: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str
    current: bool


class Token(Model):
    """An access token, without its secret."""

    id: int
    name: str
    permission: PermissionWord
    repositories: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class SecretToken(Token):
    """An access token with its secret, shown this once."""

    secret: str


class Invitation(Model):
    """A link that somebody was given."""

    organization: str | None
    team: str | None
    owner: bool = Field(validation_alias="as_owner")
    note: str
    invited_by: str
    created_at: datetime
    expires_at: datetime


class KeptInvitation(Invitation):
    """An invitation as those see it who may withdraw it."""

    id: int
    accepted_at: datetime | None
    accepted_by: str | None


class SecretInvitation(KeptInvitation):
    """An invitation with its secret, shown this once."""

    secret: str
    url: str


# -- organizations ---------------------------------------------------------------------------------------


class Organization(Model):
    """An organization."""

    name: str
    full_name: str
    about: str
    website: str
    role: Annotated[Literal["owner", "member"] | None, BeforeValidator(_belonging)] = Field(
        validation_alias="is_owner"
    )
    member_count: int
    team_count: int
    repository_count: int
    created_at: datetime
    version: int


class Member(Model):
    """Who belongs to an organization."""

    name: str
    full_name: str
    owner: bool = Field(validation_alias="is_owner")
    joined_at: datetime
    teams: list[str]


class Team(Model):
    """A team; its role, if any, is on every repository of the organization."""

    name: str
    about: str
    role: RoleWord | None
    member_count: int
    repository_count: int
    created_at: datetime
    version: int


class TeamRepository(Model):
    """What a team may do in a repository."""

    name: str
    role: RoleWord


class Robot(Model):
    """An account for programs of an organization."""

    name: str
    about: str
    disabled: bool
    token_count: int
    created_at: datetime
    last_used_at: datetime | None


# -- repositories ----------------------------------------------------------------------------------------


class Card(Model):
    """A repository as lists show it."""

    name: str
    public: bool = Field(validation_alias="is_public")
    official: bool = Field(validation_alias="is_official")
    archived: bool = Field(validation_alias="is_archived")
    kind: str
    summary: str
    categories: list[str]
    deprecation: str | None
    stars: int
    pulls: int
    created_at: datetime
    last_pushed_at: datetime | None
    last_pulled_at: datetime | None


class Repository(Card):
    """A repository in full."""

    overview: str
    tag_count: int
    manifest_count: int
    size: int
    starred: bool
    may: list[Literal["push", "delete", "admin"]]
    aliases: list[str]
    version: int

    @classmethod
    def of(cls, details: Details) -> "Repository":
        """Return what the catalog tells of a repository."""
        own = {name: getattr(details, name) for name in cls.model_fields.keys() - Card.model_fields.keys()}
        own["may"] = sorted(details.may)
        return cls(**Card.model_validate(details.card).model_dump(), **own)


class Consequences(Model):
    """What goes with a repository or a tag that is deleted."""

    tags: int
    other_tags: list[str]
    manifests: int
    size: int
    stars: int
    referrers: int
    dependents: int


class Collaborator(Model):
    """Somebody who was given a role on a repository."""

    name: str
    role: RoleWord


class Day(Model):
    """What happened on a day, in UTC."""

    day: date
    pulls: int
    checks: int
    pushes: int


class TagCount(Model):
    """What happened to a tag; the tag "" is what was pulled by a digest that no tag means."""

    tag: str
    pulls: int
    checks: int
    pushes: int


class Suggestion(Model):
    """A repository that a search may be after."""

    name: str
    summary: str
    kind: str
    official: bool = Field(validation_alias="is_official")


class Category(Model):
    """Something that repositories can be about."""

    name: str
    title: str


# -- administration --------------------------------------------------------------------------------------


class NamespaceUse(Model):
    """What a namespace takes: bytes of blobs that it alone links, and of those that others link as well."""

    name: str
    repositories: int
    exclusive: int
    shared: int


class Job(Model):
    """Background work: who has the turn, until when, and what came of the last turn that ended."""

    name: str
    holder: str
    until: datetime
    current: bool
    began_at: datetime | None
    seconds: float | None
    failed: bool | None


class Setting(Model):
    """A setting in force, and where it comes from."""

    name: str
    value: str
    source: str


class Space(Model):
    """Room for blobs, in bytes."""

    free: int
    total: int


class Totals(Model):
    """How much there is of everything; `size` in bytes of blobs."""

    accounts: int
    namespaces: int
    repositories: int
    tags: int
    manifests: int
    blobs: int
    uploads: int
    size: int


class Health(Model):
    """How the registry is; `database` says whether it takes writes, `seconds` how long one took."""

    database: bool
    seconds: float
    space: Space | None
    totals: Totals | None


# -- the rest --------------------------------------------------------------------------------------------


class Found(Model):
    """A page of what a search found; `capped` says that `total` is only as far as was counted."""

    items: list[Card]
    next: str | None
    total: int
    capped: bool


class Named(Model):
    """Somebody, or something, by name."""

    name: str


class Index(Model):
    """What there is."""

    version: str
    openapi: str
    docs: str
    resources: dict[str, str]
