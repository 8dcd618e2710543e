"""Organizations: members, teams, invitations, robots."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from auth.policy import Role
from registry.access_tokens import AccessTokens
from registry.errors import Problem, RegistryError
from registry.invitations import Invitation, Invitations
from registry.organizations import Organization, Organizations, TeamEdit, whole_name
from registry.web.pages.account import EXPIRIES, PERMISSIONS, create_token, profile_edit
from registry.web.pages.attempts import Attempt, Words, attempt
from registry.web.pages.paths import id_in, name_in, version_of
from registry.web.pages.shell import Shell, Visitor, see_other

ROLES: Final = (("", "None"), ("read", "Read"), ("write", "Write"), ("admin", "Admin"))

_PAGE: Final = 50


class OrganizationPages:
    """The handlers below `/organizations`. What somebody may not do there the services refuse."""

    def __init__(
        self, shell: Shell, organizations: Organizations, invitations: Invitations, tokens: AccessTokens
    ) -> None:
        self._shell = shell
        self._organizations = organizations
        self._invitations = invitations
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        one = "/organizations/{name}"
        team, robot = one + "/teams/{team}", one + "/robots/{robot}"
        return [
            web.get("/organizations", self.list_organizations),
            web.post("/organizations", self.create),
            web.get(one, self.get_members),
            web.post(one + "/members", self.set_member),
            web.post(one + "/members/{person}/remove", self.remove_member),
            web.get(one + "/teams", self.get_teams),
            web.post(one + "/teams", self.create_team),
            web.get(team, self.get_team),
            web.post(team, self.edit_team),
            web.post(team + "/members", self.add_team_member),
            web.post(team + "/members/{person}/remove", self.remove_team_member),
            web.post(team + "/roles", self.set_team_role),
            web.get(team + "/delete", self.confirm_team_deletion),
            web.post(team + "/delete", self.delete_team),
            web.get(one + "/invitations", self.get_invitations),
            web.post(one + "/invitations", self.invite),
            web.post(one + "/invitations/{id}/withdraw", self.withdraw),
            web.get(one + "/robots", self.get_robots),
            web.post(one + "/robots", self.create_robot),
            web.get(robot, self.get_robot),
            web.post(robot, self.create_robot_token),
            web.post(robot + "/{id}/revoke", self.revoke_robot_token),
            web.get(robot + "/delete", self.confirm_robot_deletion),
            web.post(robot + "/delete", self.delete_robot),
            web.get(one + "/settings", self.get_settings),
            web.post(one + "/settings", self.edit),
            web.get(one + "/delete", self.confirm_deletion),
            web.post(one + "/delete", self.delete),
        ]

    # -- all of them -----------------------------------------------------------------------------------

    async def list_organizations(self, request: web.Request) -> web.StreamResponse:
        """List the visitor's organizations, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_all(request, visitor, {}, Attempt())

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Make an organization."""
        visitor = await self._shell.require_login(request)
        form = await self._shell.read_form(request)
        tried = await attempt(
            self._organizations.create(
                visitor.identity,
                form.get("name", "").strip(),
                full_name=form.get("full_name", ""),
                about=form.get("about", ""),
            ),
            taken="name",
        )
        if tried.value is None:
            return await self._show_all(request, visitor, form, tried)
        return see_other(f"/organizations/{tried.value.name}", notice="created")

    async def _show_all(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        found = await self._organizations.organizations(
            visitor.identity, mine=True, cursor=request.query.get("cursor"), limit=_PAGE
        )
        return self._shell.render(
            request,
            "organizations/list.html",
            status=422 if tried.failed else 200,
            found=found,
            said=Words(said or {}),
            tried=tried,
        )

    # -- members ---------------------------------------------------------------------------------------

    async def get_members(self, request: web.Request) -> web.StreamResponse:
        """List the members; to who is none, say what the organization is."""
        visitor = await self._shell.require_login(request)
        organization = await self._organization(request, visitor)
        if organization.role is None and not visitor.administers:
            return see_other(f"/u/{organization.name}")
        return await self._show_members(request, visitor, {}, Attempt())

    async def set_member(self, request: web.Request) -> web.StreamResponse:
        """Add a member or change what one is."""
        visitor, form = await self._form(request)
        name = name_in(request)
        change = self._organizations.set_member(
            visitor.identity, name, form.get("person", "").strip(), is_owner=form.get("owner") == "yes"
        )
        tried = await attempt(change, missing="person")
        if tried.failed:
            return await self._show_members(request, visitor, form, tried)
        return see_other(f"/organizations/{name}", notice="saved")

    async def remove_member(self, request: web.Request) -> web.StreamResponse:
        """Remove a member, or leave."""
        visitor, _ = await self._form(request)
        name, person = name_in(request), request.match_info["person"]
        tried = await attempt(self._organizations.remove_member(visitor.identity, name, person))
        if tried.failed:
            return await self._show_members(request, visitor, {}, tried)
        if person == visitor.name:
            return see_other("/organizations", notice="left")
        return see_other(f"/organizations/{name}", notice="saved")

    async def _show_members(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        cursor = request.query.get("cursor")
        found = await self._organizations.members(
            visitor.identity, name_in(request), cursor=cursor, limit=_PAGE
        )
        return await self._render(request, visitor, "members", tried, found=found, said=Words(said or {}))

    # -- teams -----------------------------------------------------------------------------------------

    async def get_teams(self, request: web.Request) -> web.StreamResponse:
        """List the teams, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_teams(request, visitor, {}, Attempt())

    async def create_team(self, request: web.Request) -> web.StreamResponse:
        """Make a team."""
        visitor, form = await self._form(request)
        name = name_in(request)
        tried = await attempt(
            self._organizations.create_team(
                visitor.identity,
                name,
                form.get("team", "").strip(),
                about=form.get("about", ""),
                role=_role(form),
            ),
            taken="name",
        )
        if tried.value is None:
            return await self._show_teams(request, visitor, form, tried)
        return see_other(f"/organizations/{name}/teams/{tried.value.name}", notice="created")

    async def _show_teams(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        found = await self._organizations.teams(visitor.identity, name_in(request))
        return await self._render(request, visitor, "teams", tried, teams=found, said=Words(said or {}))

    async def get_team(self, request: web.Request) -> web.StreamResponse:
        """Show a team: its members, and what it may do where."""
        visitor = await self._shell.require_login(request)
        return await self._show_team(request, visitor, {}, Attempt())

    async def edit_team(self, request: web.Request) -> web.StreamResponse:
        """Change a team."""
        visitor, form = await self._form(request)
        edit = TeamEdit(about=form.get("about", ""), role=_role(form))
        return await self._change_team(
            request,
            visitor,
            self._organizations.edit_team(
                visitor.identity, *self._team(request), edit, version=version_of(form)
            ),
            said=form,
        )

    async def add_team_member(self, request: web.Request) -> web.StreamResponse:
        """Let a member of the organization belong to the team."""
        visitor, form = await self._form(request)
        person = form.get("person", "").strip()
        change = self._organizations.add_team_member(visitor.identity, *self._team(request), person)
        return await self._change_team(request, visitor, change, said=form, missing="person")

    async def remove_team_member(self, request: web.Request) -> web.StreamResponse:
        """Take somebody from the team."""
        visitor, _ = await self._form(request)
        person = request.match_info["person"]
        change = self._organizations.remove_team_member(visitor.identity, *self._team(request), person)
        return await self._change_team(request, visitor, change)

    async def set_team_role(self, request: web.Request) -> web.StreamResponse:
        """Give the team a role on a repository, or take it away."""
        visitor, form = await self._form(request)
        repository = form.get("repository", "").strip()
        change = self._organizations.set_team_role(
            visitor.identity, *self._team(request), repository, _role(form)
        )
        return await self._change_team(
            request, visitor, change, said=form, taken="repository", missing="repository"
        )

    async def confirm_team_deletion(self, request: web.Request) -> web.StreamResponse:
        """Say what goes with a team."""
        visitor = await self._shell.require_login(request)
        organization = await self._organization(request, visitor)
        if organization.role != "owner" and not visitor.administers:
            raise RegistryError(Problem.DENIED)
        return await self._show_team(request, visitor, {}, Attempt(), "team_delete")

    async def delete_team(self, request: web.Request) -> web.StreamResponse:
        """Delete a team; its members stay."""
        visitor, _ = await self._form(request)
        name, team = self._team(request)
        await self._organizations.delete_team(visitor.identity, name, team)
        return see_other(f"/organizations/{name}/teams", notice="deleted")

    def _team(self, request: web.Request) -> tuple[str, str]:
        return name_in(request), request.match_info["team"]

    async def _change_team(
        self,
        request: web.Request,
        visitor: Visitor,
        change: Awaitable[object],
        said: Mapping[str, str] | None = None,
        **fields: str,
    ) -> web.StreamResponse:
        tried = await attempt(change, **fields)
        if tried.failed:
            return await self._show_team(request, visitor, said or {}, tried)
        name, team = self._team(request)
        return see_other(f"/organizations/{name}/teams/{team}", notice="saved")

    async def _show_team(
        self,
        request: web.Request,
        visitor: Visitor,
        said: Mapping[str, str],
        tried: Attempt[Any],
        template: str = "team",
    ) -> web.Response:
        name, team = self._team(request)
        return await self._render(
            request,
            visitor,
            template,
            tried,
            team=await self._organizations.team(visitor.identity, name, team),
            members=await self._organizations.team_members(visitor.identity, name, team),
            repositories=await self._organizations.team_repositories(visitor.identity, name, team),
            said=Words(said),
        )

    # -- invitations -----------------------------------------------------------------------------------

    async def get_invitations(self, request: web.Request) -> web.StreamResponse:
        """List the invitations, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_invitations(request, visitor, {}, Attempt())

    async def invite(self, request: web.Request) -> web.StreamResponse:
        """Make an invitation and show its link, this once."""
        visitor, form = await self._form(request)
        tried = await attempt(
            self._invitations.invite(
                visitor.identity,
                organization=name_in(request),
                team=form.get("team") or None,
                as_owner=form.get("owner") == "yes",
                note=form.get("note", ""),
            ),
            missing="team",
        )
        return await self._show_invitations(request, visitor, form if tried.failed else {}, tried)

    async def withdraw(self, request: web.Request) -> web.StreamResponse:
        """Withdraw an invitation."""
        visitor, _ = await self._form(request)
        await self._invitations.withdraw_invitation(visitor.identity, id_in(request))
        return see_other(f"/organizations/{name_in(request)}/invitations", notice="revoked")

    async def _show_invitations(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        name = name_in(request)
        found: Sequence[Invitation] = await self._invitations.invitations(visitor.identity, name)
        teams = await self._organizations.teams(visitor.identity, name)
        return await self._render(
            request,
            visitor,
            "invitations",
            tried,
            invitations=found,
            teams=teams,
            said=Words(said),
            now=datetime.now(UTC),
        )

    # -- robots ----------------------------------------------------------------------------------------

    async def get_robots(self, request: web.Request) -> web.StreamResponse:
        """List the robots, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_robots(request, visitor, {}, Attempt())

    async def create_robot(self, request: web.Request) -> web.StreamResponse:
        """Make a robot."""
        visitor, form = await self._form(request)
        name, robot = name_in(request), form.get("robot", "").strip()
        tried = await attempt(
            self._organizations.create_robot(visitor.identity, name, robot, form.get("about", "")),
            taken="name",
        )
        if tried.failed:
            return await self._show_robots(request, visitor, form, tried)
        return see_other(f"/organizations/{name}/robots/{robot}", notice="created")

    async def get_robot(self, request: web.Request) -> web.StreamResponse:
        """Show a robot's access tokens, with the form for another one."""
        visitor = await self._shell.require_login(request)
        return await self._show_robot(request, visitor, {}, Attempt())

    async def create_robot_token(self, request: web.Request) -> web.StreamResponse:
        """Make an access token of a robot and show its secret, this once."""
        visitor, form = await self._form(request)
        tried = await attempt(create_token(self._tokens, visitor, form, self._robot(request)))
        return await self._show_robot(request, visitor, form, tried)

    async def revoke_robot_token(self, request: web.Request) -> web.StreamResponse:
        """Revoke an access token of a robot."""
        visitor, _ = await self._form(request)
        await self._tokens.revoke(visitor.identity, id_in(request), self._robot(request))
        name, robot = name_in(request), request.match_info["robot"]
        return see_other(f"/organizations/{name}/robots/{robot}", notice="revoked")

    async def confirm_robot_deletion(self, request: web.Request) -> web.StreamResponse:
        """Say what goes with a robot."""
        visitor = await self._shell.require_login(request)
        return await self._show_robot(request, visitor, {}, Attempt(), "robot_delete")

    async def delete_robot(self, request: web.Request) -> web.StreamResponse:
        """Delete a robot with its access tokens."""
        visitor, _ = await self._form(request)
        name = name_in(request)
        await self._organizations.delete_robot(visitor.identity, name, request.match_info["robot"])
        return see_other(f"/organizations/{name}/robots", notice="deleted")

    def _robot(self, request: web.Request) -> str:
        return whole_name(name_in(request), request.match_info["robot"])

    async def _show_robots(
        self, request: web.Request, visitor: Visitor, said: Mapping[str, str], tried: Attempt[Any]
    ) -> web.Response:
        found = await self._organizations.robots(visitor.identity, name_in(request))
        return await self._render(request, visitor, "robots", tried, robots=found, said=Words(said or {}))

    async def _show_robot(
        self,
        request: web.Request,
        visitor: Visitor,
        said: Mapping[str, str],
        tried: Attempt[Any],
        template: str = "robot",
    ) -> web.Response:
        return await self._render(
            request,
            visitor,
            template,
            tried,
            robot=self._robot(request),
            short=request.match_info["robot"],
            tokens=await self._tokens.tokens(visitor.identity, self._robot(request)),
            said=Words(said or {}),
            expiries=EXPIRIES,
            permissions=PERMISSIONS[:3],
            now=datetime.now(UTC),
        )

    # -- settings --------------------------------------------------------------------------------------

    async def get_settings(self, request: web.Request) -> web.StreamResponse:
        """Show the form for what the organization says of itself."""
        visitor = await self._shell.require_login(request)
        return await self._render(request, visitor, "settings", Attempt(), said=Words())

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Change what the organization says of itself."""
        visitor, form = await self._form(request)
        name = name_in(request)
        tried = await attempt(
            self._organizations.edit(visitor.identity, name, profile_edit(form), version=version_of(form))
        )
        if tried.failed:
            return await self._render(request, visitor, "settings", tried, said=Words(form))
        return see_other(f"/organizations/{name}/settings", notice="saved")

    async def confirm_deletion(self, request: web.Request) -> web.StreamResponse:
        """Say what goes with the organization."""
        visitor = await self._shell.require_login(request)
        return await self._render(request, visitor, "delete", Attempt())

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete an organization that has no repositories any more."""
        visitor, form = await self._form(request)
        name = name_in(request)
        tried: Attempt[None] = Attempt(errors=Words(confirm="This is not its name"))
        if form.get("confirm") == name:
            tried = await attempt(self._organizations.delete(visitor.identity, name))
        if tried.failed:
            return await self._render(request, visitor, "delete", tried)
        return see_other("/organizations", notice="deleted")

    # -- what all of them share ------------------------------------------------------------------------

    async def _form(self, request: web.Request) -> tuple[Visitor, Mapping[str, str]]:
        visitor = await self._shell.require_login(request)
        return visitor, await self._shell.read_form(request)

    async def _organization(self, request: web.Request, visitor: Visitor) -> Organization:
        return await self._organizations.organization(visitor.identity, name_in(request))

    async def _render(
        self, request: web.Request, visitor: Visitor, template: str, tried: Attempt[Any], **values: Any
    ) -> web.Response:
        organization = await self._organization(request, visitor)
        return self._shell.render(
            request,
            f"organizations/{template}.html",
            status=422 if tried.failed else 200,
            organization=organization,
            owns=organization.role == "owner" or visitor.administers,
            roles=ROLES,
            tried=tried,
            **values,
        )


def _role(form: Mapping[str, str]) -> Role | None:
    return Role.__members__.get(form.get("role", "").upper())
