"""What may be said to the interface: a model for each kind of document and query."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from registry.listing import MAX_PAGE

# Text without control characters; the longer kinds may have lines.
_LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
_LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"

Name = Annotated[str, StringConstraints(min_length=2, max_length=64, pattern=rf"^{_COMPONENT}$")]
RepositoryName = Annotated[
    str, StringConstraints(max_length=255, pattern=rf"^{_COMPONENT}(?:/{_COMPONENT})*$")
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_LINE)]
FullName = Annotated[str, StringConstraints(max_length=100, pattern=_LINE)]
Line = Annotated[str, StringConstraints(max_length=200, pattern=_LINE)]
Notice = Annotated[str, StringConstraints(max_length=300, pattern=_LINE)]
Lines = Annotated[str, StringConstraints(max_length=1000, pattern=_LINES)]
Markdown = Annotated[str, StringConstraints(max_length=64 * 1024)]
Website = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^(?:https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:[/?#][!-~]*)?)?$"
    ),
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
NewPassword = Annotated[str, StringConstraints(min_length=8, max_length=1024)]
Categories = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=3)]
RoleWord = Literal["read", "write", "admin"]
PermissionWord = Literal["read", "write", "delete", "admin"]

_LAST_YEAR: Final = 9998


def _may_be_kept(moment: datetime) -> datetime:
    if not 1970 < moment.year <= _LAST_YEAR:
        raise ValueError("the year cannot be")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_may_be_kept)]


class Body(BaseModel):
    """A document in a request: what it does not know is refused, and nothing is read into a wrong type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def changes(self) -> dict[str, Any]:
        """Return what was said, and not what was left out."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# -- people ----------------------------------------------------------------------------------------------


class ProfileChanges(Body):
    """What a person, or an organization, says of itself."""

    full_name: FullName = ""
    about: Lines = ""
    website: Website = ""


class PasswordChange(Body):
    """Another password, and the one of now."""

    current: Password
    new: NewPassword


class NewPerson(Body):
    """An account that an administrator makes."""

    name: Name
    password: NewPassword
    admin: bool = False


class PersonChanges(Body):
    """What administrators may change of an account."""

    disabled: bool = False
    admin: bool = False


class SignUp(Body):
    """Somebody who makes an account."""

    name: Name
    password: NewPassword
    invitation: Label | None = None


class NewToken(Body):
    """An access token that somebody wants."""

    name: Label
    permission: PermissionWord
    repositories: Annotated[list[RepositoryName], Field(min_length=1, max_length=100)] | None = None
    expires_at: Moment | None = None


class NewInvitation(Body):
    """Whom to invite, to what."""

    team: Name | None = None
    owner: bool = False
    note: Line = ""
    days: Annotated[int, Field(ge=1, le=90)] = 7


class NewAccountInvitation(Body):
    """An invitation to make an account, and no more."""

    note: Line = ""
    days: Annotated[int, Field(ge=1, le=90)] = 7


# -- organizations ---------------------------------------------------------------------------------------


class NewOrganization(Body):
    """An organization to be."""

    name: Name
    full_name: FullName = ""
    about: Lines = ""


class MemberChange(Body):
    """How somebody belongs to an organization."""

    owner: bool = False


class NewTeam(Body):
    """A team to be."""

    name: Name
    about: Lines = ""
    role: RoleWord | None = None


class TeamChanges(Body):
    """What is to be different in a team."""

    name: Name = "--"
    about: Lines = ""
    role: RoleWord | None = None


class NewRobot(Body):
    """A robot to be."""

    name: Name
    about: Line = ""


class RobotChanges(Body):
    """What is to be different in a robot."""

    disabled: bool


# -- repositories ----------------------------------------------------------------------------------------


class RepositoryChanges(Body):
    """What is to be different in a repository."""

    summary: Line = ""
    overview: Markdown = ""
    categories: Categories = []
    deprecation: Notice | None = None
    archived: bool = False
    public: bool = False


class NewRepository(Body):
    """A repository to be."""

    name: RepositoryName
    summary: Line = ""
    overview: Markdown = ""
    categories: Categories = []
    public: bool = False


class NewName(Body):
    """What a repository is to be called."""

    name: RepositoryName


class TagChanges(Body):
    """What is to be told to whoever pulls by a tag; null is nothing."""

    deprecation: Notice | None


class RoleChange(Body):
    """What somebody may do."""

    role: RoleWord


# -- queries ---------------------------------------------------------------------------------------------


def _number(text: object) -> object:
    if isinstance(text, str):
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ValueError("it is a whole number")
        return int(text)
    return text


def _truth(text: object) -> object:
    if isinstance(text, str):
        if text not in ("true", "false"):
            raise ValueError("it is true or false")
        return text == "true"
    return text


Number = Annotated[int, BeforeValidator(_number)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Words = Annotated[str, StringConstraints(max_length=200, pattern=_LINE)]
Kind = Literal["image", "chart", "artifact"]


class Query(BaseModel):
    """Parameters."""

    model_config = ConfigDict(frozen=True)


class PageQuery(Query):
    """Which page of a list."""

    cursor: Annotated[str, StringConstraints(max_length=2000, pattern=_LINE)] | None = None
    limit: Annotated[Number, Field(ge=1, le=MAX_PAGE)] = 25


class SearchPageQuery(PageQuery):
    """A page of what has these words in its name."""

    q: Words = ""


class OrganizationsQuery(SearchPageQuery):
    """Which organizations."""

    mine: Truth = False


class RepositoriesQuery(PageQuery):
    """Which repositories, in which order."""

    namespace: Words | None = None
    starred_by: Words | None = None
    kind: Kind | None = None
    category: Words | None = None
    official: Truth = False
    sort: Literal["name", "stars", "pulls", "pushed"] = "name"


class TagsQuery(PageQuery):
    """Which tags, in which order."""

    q: Words = ""
    sort: Literal["newest", "oldest", "name", "-name"] = "newest"


class SearchQuery(PageQuery):
    """What to look for, in which order."""

    q: Words = ""
    official: Truth = False
    stars: Annotated[Number, Field(ge=0)] = 0
    kind: Kind | None = None
    category: Words | None = None
    sort: Literal["relevance", "stars", "pulls", "pushed", "name"] = "relevance"


class SuggestionsQuery(Query):
    """The beginning of a word."""

    q: Words = ""
    limit: Annotated[Number, Field(ge=1, le=20)] = 8


class StatisticsQuery(Query):
    """Of which days, and of which tag."""

    days: Annotated[Number, Field(ge=1, le=366)] = 30
    tag: Annotated[str, StringConstraints(max_length=128, pattern=_LINE)] | None = None


class CountsQuery(Query):
    """Of which days, and of how many tags."""

    days: Annotated[Number, Field(ge=1, le=366)] = 30
    limit: Annotated[Number, Field(ge=1, le=MAX_PAGE)] = 20


class ImageQuery(Query):
    """Which of the platforms of an index."""

    platform: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] | None = None


class ConsequencesQuery(Query):
    """Of which tag or digest; without one, of the repository."""

    tag: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] | None = None
