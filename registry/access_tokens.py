"""Access tokens as their owners keep them: of one's own account, and of the robots of an organization."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from auth.identity import Identity, Permission
from auth.passwords import ACCESS_PREFIX
from auth.policy import allowed_actions
from auth.tokens import new_secret, secret_hash
from registry.accounts import standing_of
from registry.errors import Problem, RegistryError
from registry.guards import check_line, invalid, not_here, require_account, require_login
from registry.membership import owned
from registry.names import parse_name
from storage.metadata import access_tokens, robots
from storage.metadata.engine import Connection, Metadata

_MAX_NAME: Final = 100
_MAX_TOKENS: Final = 100
_MAX_REPOSITORIES: Final = 100


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token without its secret; `repositories` are the only ones that it is for, None is all."""

    id: int
    name: str
    permission: Permission
    repositories: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token with its secret, which is shown this once."""

    token: AccessToken
    secret: str


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """The access tokens: of the robot whose whole name is given as `robot`, or else one's own."""

    metadata: Metadata

    async def tokens(self, caller: Identity, robot: str | None = None) -> Sequence[AccessToken]:
        """List the tokens, newest first."""
        return await self.metadata.read(partial(_tokens, caller=caller, robot=robot))

    async def create(
        self,
        caller: Identity,
        name: str,
        permission: Permission,
        *,
        repositories: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        robot: str | None = None,
    ) -> NewToken:
        """Make a token, which goes no further than what the caller came with.

        Raises:
            RegistryError: INVALID; CONFLICT where there are too many.
        """
        wanted = _Wanted(_check_name(name), permission, repositories, expires_at, robot)
        wanted.check(datetime.now(UTC))
        secret = new_secret(ACCESS_PREFIX)
        return NewToken(await self.metadata.write(partial(_add, caller, wanted, secret_hash(secret))), secret)

    async def revoke(self, caller: Identity, token_id: int, robot: str | None = None) -> None:
        """Make a token worthless, and all that it was exchanged for."""

        def run(db: Connection) -> None:
            if not access_tokens.remove(db, _account_id(db, caller, robot), token_id):
                raise not_here()

        await self.metadata.write(run)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A token that somebody asks for."""

    name: str
    permission: Permission
    repositories: Sequence[str] | None
    expires_at: datetime | None
    robot: str | None

    def check(self, now: datetime) -> None:
        """Return if it could be. Raises INVALID."""
        if self.expires_at is not None and self.expires_at <= now:
            raise invalid(expires_at="a moment to come")
        if self.robot is not None and self.permission > Permission.DELETE:
            raise invalid(permission="a robot reads, writes and deletes, and keeps nothing")
        if self.repositories is not None and not 1 <= len(self.repositories) <= _MAX_REPOSITORIES:
            raise invalid(repositories=f"1 to {_MAX_REPOSITORIES} repositories")


def _check_name(name: str) -> str:
    name = check_line("name", name, _MAX_NAME)
    if not name:
        raise invalid(name="what the token is for")
    return name


def _add(caller: Identity, wanted: _Wanted, hashed: str, db: Connection) -> AccessToken:
    account_id = _account_id(db, caller, wanted.robot)
    if access_tokens.count(db, account_id) >= _MAX_TOKENS:
        raise RegistryError(Problem.CONFLICT, f"an account has at most {_MAX_TOKENS} tokens")
    token_id = access_tokens.add(
        db,
        account_id,
        wanted.name,
        hashed,
        wanted.permission,
        repository_ids=_chosen(db, caller, wanted),
        now=datetime.now(UTC),
        expires_at=_end(db, caller, wanted),
    )
    return next(each for each in _tokens(db, caller, wanted.robot) if each.id == token_id)


def _tokens(db: Connection, caller: Identity, robot: str | None) -> Sequence[AccessToken]:
    return [
        AccessToken(
            each.id,
            each.name,
            Permission(each.permission),
            each.repositories,
            each.created_at,
            each.expires_at,
            each.last_used_at,
        )
        for each in access_tokens.of_account(db, _account_id(db, caller, robot))
    ]


def _account_id(db: Connection, caller: Identity, robot: str | None) -> int:
    """Return whose tokens these are, if the caller keeps them."""
    require_login(caller, Permission.ADMIN)
    if robot is None:
        return require_account(caller)
    organization = robot.partition(robots.SEPARATOR)[0]
    owned(db, caller, organization)
    found = robots.find(db, robot)
    if found is None:
        raise not_here()
    return found.account_id


def _end(db: Connection, caller: Identity, wanted: _Wanted) -> datetime | None:
    """Return when the token ends: with the one that the caller came with, at the latest."""
    last = None if caller.limit is None else access_tokens.expiry(db, caller.limit.token_id)
    if last is None or (wanted.expires_at is not None and wanted.expires_at <= last):
        return wanted.expires_at
    if wanted.expires_at is None:
        return last
    raise invalid(expires_at="not after the end of the token that makes it")


def _chosen(db: Connection, caller: Identity, wanted: _Wanted) -> Sequence[int] | None:
    """Return the ids of the repositories, which the caller may see and the robot's organization has."""
    limit = caller.limit
    if wanted.repositories is None:
        # A token cannot make one that goes further than itself.
        return None if limit is None or limit.repositories is None else sorted(limit.repositories)
    return sorted({_visible_id(db, caller, wanted.robot, each) for each in wanted.repositories})


def _visible_id(db: Connection, caller: Identity, robot: str | None, name: str) -> int:
    unknown = invalid(repositories=f"there is no repository {name}")
    try:
        standing = standing_of(db, caller, parse_name(name))
    except RegistryError as error:
        raise unknown from error
    organization = None if robot is None else robot.partition(robots.SEPARATOR)[0]
    covered = caller.limit is None or caller.limit.covers(Permission.ADMIN, standing.repository_id)
    foreign = organization is not None and not standing.name.startswith(f"{organization}/")
    seen = "pull" in allowed_actions(caller, standing)
    if standing.repository_id is None or foreign or not (seen and covered):
        raise unknown
    return standing.repository_id
