"""The table of errors."""

import pytest

from registry.errors import Problem, RegistryError, UploadError, blob_unknown, of_storage
from storage.blobs import BlobMissing, BlobTooLarge, StagedBusy, StoreFull, StoreReadOnly, StoreUnavailable
from storage.digest import Digest
from storage.metadata.engine import MetadataFull, MetadataReadOnly, MetadataUnavailable

# Distribution specification, "Error codes": all of them.
SPECIFIED = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}

# What a server that fails says; the specification has no word for it.
FAILURES = {
    Problem.UNAVAILABLE: ("UNAVAILABLE", 503),
    Problem.READ_ONLY: ("UNAVAILABLE", 503),
    Problem.INTERNAL: ("UNKNOWN", 500),
}


def test_codes_are_those_of_the_specification() -> None:
    assert len(SPECIFIED) == 14
    assert {each.code for each in Problem if each not in FAILURES} == SPECIFIED
    assert {each: (each.code, each.status) for each in FAILURES} == FAILURES


def test_every_row_is_of_its_own() -> None:
    # An Enum makes an alias of a row that is there already: then one of the two names is lost.
    assert len(Problem.__members__) == len(Problem)
    assert len({each.message for each in Problem}) == len(Problem)


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (401, {"UNAUTHORIZED"}),
        (403, {"DENIED"}),
        (429, {"TOOMANYREQUESTS"}),
        (
            404,
            {
                "BLOB_UNKNOWN",
                "BLOB_UPLOAD_UNKNOWN",
                "MANIFEST_UNKNOWN",
                "MANIFEST_BLOB_UNKNOWN",
                "NAME_UNKNOWN",
                "UNSUPPORTED",
            },
        ),
        (416, {"BLOB_UPLOAD_INVALID", "SIZE_INVALID"}),
        (413, {"SIZE_INVALID"}),
        (412, {"DENIED"}),
    ],
)
def test_codes_of_a_status(status: int, codes: set[str]) -> None:
    assert {each.code for each in Problem if each.status == status} == codes


@pytest.mark.parametrize("problem", Problem)
def test_row(problem: Problem) -> None:
    assert 400 <= problem.status < 600
    assert problem.message
    assert problem.message[0].islower()
    assert problem.message.isascii()


@pytest.mark.parametrize(("said", "message"), [("", Problem.DENIED.message), ("because", "because")])
def test_error_has_the_words_of_the_table_or_better_ones(said: str, message: str) -> None:
    error = RegistryError(Problem.DENIED, said, detail={"k": 1}, retry_after=3)
    assert (error.message, str(error)) == (message, message)
    assert (error.problem, error.detail, error.retry_after) == (Problem.DENIED, {"k": 1}, 3)


def test_upload_error_tells_where_to_go_on() -> None:
    error = UploadError(Problem.UPLOAD_BUSY, "upload", 7)
    assert (error.upload_id, error.offset, error.detail) == ("upload", 7, {"offset": 7})


@pytest.mark.parametrize(
    ("error", "problem", "waits"),
    [
        (StoreFull(), Problem.STORE_FULL, False),
        (MetadataFull(), Problem.STORE_FULL, False),
        (MetadataUnavailable(), Problem.UNAVAILABLE, True),
        (StoreUnavailable(), Problem.UNAVAILABLE, True),
        (StoreReadOnly(), Problem.READ_ONLY, True),
        (MetadataReadOnly(), Problem.READ_ONLY, True),
        (BlobTooLarge("a blob has at most 1 byte"), Problem.BODY_TOO_LARGE, False),
    ],
)
def test_failures_of_the_stores_are_in_the_table(error: Exception, problem: Problem, waits: bool) -> None:
    refusal = of_storage(error)
    assert refusal is not None
    assert refusal.problem is problem
    assert (refusal.retry_after is not None) is waits


@pytest.mark.parametrize("error", [BlobMissing(), StagedBusy(), OSError(), ValueError()])
def test_other_failures_are_not(error: Exception) -> None:
    assert of_storage(error) is None


def test_unknown_blob_is_named() -> None:
    digest = Digest.of(b"")
    assert blob_unknown(digest).detail == {"digest": digest}
