"""Accounts, in a line each."""

from datetime import UTC, datetime
from typing import Final

from auth.identity import Identity
from storage.metadata import accounts
from tests.registry.registries import Stores

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def add_account(stores: Stores, name: str, *, is_admin: bool = False) -> Identity:
    """Add an account with its namespace and return who it is."""
    await stores.metadata.write(accounts.add, name, "hash", is_admin=is_admin, now=NOW)
    account = await stores.metadata.lookup(accounts.find, name)
    assert account is not None
    return Identity(account.id, account.name, is_admin=account.is_admin)
