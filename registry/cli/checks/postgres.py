"""PostgreSQL: what it is, how far away, and whether it takes what it is given."""

from collections.abc import Sequence
from typing import Final

from auth.keys import KeyFileError
from registry.cli.checks.findings import Finding, clock_finding, fault, ok, show_seconds, warning, words_of
from registry.cli.checks.schema import DATABASE, judge_revision
from registry.config import Settings
from registry.installation import shared_keys_of
from storage.metadata.databases import PostgresDatabase
from storage.metadata.engine import Metadata
from storage.metadata.migrate import revision_of, revisions
from storage.metadata.probes import (
    PostgresFacts,
    Undone,
    ask_postgres,
    briefly_open,
    round_trip,
    write_and_undo,
)

_OLDEST: Final = 14

# Seconds of a round trip: a request makes some, one after the other.
_FAR: Final = 0.005
_TOO_FAR: Final = 0.050

# Tokens allow for ten seconds; holds and leases last a minute.
_CLOCK_WARNS: Final = 10
_CLOCK_FAILS: Final = 60


async def check_postgres(settings: Settings, database: PostgresDatabase) -> Sequence[Finding]:
    """Look at the server and at our schema in it."""
    metadata = briefly_open(database.dsn)
    try:
        facts = await metadata.lookup(ask_postgres)
    except Exception as error:  # noqa: BLE001 - it has many ways to refuse
        await metadata.close()
        advice = "start it, open its port to this machine, or mend the URL in database"
        return [fault(DATABASE, f"{database} cannot be used: {words_of(error)}", advice)]
    found = judge_facts(facts, settings)
    try:
        found.append(judge_round_trip(await metadata.lookup(round_trip)))
        found += await _inside(settings, metadata, is_standby=facts.is_standby)
    except Exception as error:  # noqa: BLE001 - what was found so far is still true
        advice = "let the account of the URL read and write: it is best the owner of the tables"
        found.append(fault(DATABASE, f"refuses what it is asked: {words_of(error)}", advice))
    finally:
        await metadata.close()
    return found


def judge_facts(facts: PostgresFacts, settings: Settings) -> list[Finding]:
    """Judge what the server says of itself."""
    found = [
        judge_version(facts.version),
        judge_connections(facts, settings.database_pool, settings.workers),
        clock_finding("database clock", facts.ahead, warn=_CLOCK_WARNS, fail=_CLOCK_FAILS),
    ]
    if facts.is_standby:
        advice = "name the primary in database, or promote this one"
        found.append(fault(DATABASE, "this server is a standby, which takes no writes", advice))
    return found


async def _inside(settings: Settings, metadata: Metadata, *, is_standby: bool) -> Sequence[Finding]:
    found = [judge_revision(await metadata.lookup(revision_of), revisions())]
    if found[0].result != "ok":
        return found  # the tables may be others than ours
    if not is_standby:
        found.append(await _write_finding(metadata))
    keys = shared_keys_of(settings, metadata)
    if keys is not None and settings.auth == "on":
        try:
            await keys.load()
        except KeyFileError as error:
            found.append(fault("signing keys", words_of(error), "give all nodes the same keys_secret"))
        else:
            words = f"tokens are signed with the key {keys.ring().signing.kid}, in the database"
            found.append(ok("signing keys", words))
    return found


async def _write_finding(metadata: Metadata) -> Finding:
    try:
        await metadata.write(write_and_undo)
    except Undone:
        return ok(DATABASE, "takes writes")
    except Exception as error:  # noqa: BLE001 - whatever it has against a write
        advice = "let the account of the URL write: it is best the owner of the tables"
        return fault(DATABASE, f"takes no writes: {words_of(error)}", advice)
    raise AssertionError("not reached")


def judge_version(number: int) -> Finding:
    """Judge a version as the server numbers it: 150008 is 15.8."""
    major = number // 10000
    found = f"PostgreSQL {major}.{number % 10000}"
    if major < _OLDEST:
        return warning(DATABASE, found, f"upgrade to {_OLDEST} or later, which get fixes")
    return ok(DATABASE, found)


def judge_round_trip(seconds: float) -> Finding:
    """Judge how far away the server is."""
    found = f"a round trip takes {show_seconds(seconds)}"
    if seconds <= _FAR:
        return ok(DATABASE, found)
    kind = fault if seconds > _TOO_FAR else warning
    return kind(
        DATABASE, found, "run longshore next to its database: the same site, nothing slow between them"
    )


def judge_connections(facts: PostgresFacts, pool: int, workers: int) -> Finding:
    """Judge whether there is room for what the workers of this node open, and for how many such nodes."""
    needed, room = pool * workers, facts.connections - facts.used_by_others
    found = f"a node opens up to {needed} connections ({workers} x {pool}), of {facts.connections}"
    if facts.used_by_others:
        found += f", of which others use {facts.used_by_others}"
    advice = "lower database_pool or workers, or raise max_connections"
    if needed > facts.connections:
        return fault(DATABASE, found, advice)
    if needed > room:
        return warning(DATABASE, found, advice)
    nodes = room // needed
    return ok(DATABASE, f"{found}: room for {nodes} such node{'' if nodes == 1 else 's'}")
