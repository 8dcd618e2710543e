"""What can go wrong, as one table: the wire code, the HTTP status and the words.

The codes are those of the distribution specification ("Error codes") and no others; where one code covers
several situations, each has a row of its own with its own status.
"""

from enum import Enum
from typing import Any, Final

from storage.blobs import BlobTooLarge, StoreFull, StoreReadOnly, StoreUnavailable
from storage.digest import Digest
from storage.metadata.engine import MetadataFull, MetadataReadOnly, MetadataUnavailable

# Seconds that a store which does not answer, or a database which another process holds, is given.
_RETRY_AFTER: Final = 5


class Problem(Enum):
    """A row of the table: `code`, `status`, `message`."""

    BLOB_UNKNOWN = ("BLOB_UNKNOWN", 404, "blob unknown to the repository")
    BLOB_IN_USE = ("DENIED", 403, "a manifest of the repository still names this blob")
    UPLOAD_UNKNOWN = ("BLOB_UPLOAD_UNKNOWN", 404, "upload unknown to the registry: start anew")
    UPLOAD_INVALID = ("BLOB_UPLOAD_INVALID", 400, "the upload request is invalid")
    UPLOAD_RANGE_INVALID = ("BLOB_UPLOAD_INVALID", 416, "the chunk does not start where the upload ends")
    UPLOAD_BUSY = ("BLOB_UPLOAD_INVALID", 409, "another request is writing to this upload")
    DIGEST_INVALID = ("DIGEST_INVALID", 400, "the digest is invalid or does not match the content")
    RANGE_INVALID = ("SIZE_INVALID", 416, "no byte of the blob is in the range")
    SIZE_INVALID = ("SIZE_INVALID", 400, "the length does not match the content")
    MANIFEST_UNKNOWN = ("MANIFEST_UNKNOWN", 404, "manifest unknown to the repository")
    MANIFEST_INVALID = ("MANIFEST_INVALID", 400, "the manifest is invalid")
    BODY_TOO_LARGE = ("SIZE_INVALID", 413, "the body is too large")
    MANIFEST_BLOB_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", 404, "the manifest names content that is not here")
    TOO_MANY_TAGS = ("UNSUPPORTED", 414, "more tags than one request may set")
    PRECONDITION_FAILED = ("DENIED", 412, "the tag does not mean what the request's condition says")
    NAME_INVALID = ("NAME_INVALID", 400, "the repository name is invalid")
    NAME_UNKNOWN = ("NAME_UNKNOWN", 404, "repository name not known to the registry")
    PAGE_INVALID = ("UNSUPPORTED", 400, "the parameters of the list are invalid")
    UNAUTHORIZED = ("UNAUTHORIZED", 401, "authentication required")
    DENIED = ("DENIED", 403, "requested access to the resource is denied")
    REQUEST_INVALID = ("UNSUPPORTED", 400, "the request is invalid")
    REQUEST_TIMEOUT = ("UNSUPPORTED", 408, "the body did not arrive in time")
    HEAD_TOO_LARGE = (
        "UNSUPPORTED",
        431,
        "the request line or a header field is too long, or they are too many",
    )
    NOT_FOUND = ("UNSUPPORTED", 404, "there is no such endpoint")
    MEDIA_TYPE_UNSUPPORTED = ("UNSUPPORTED", 415, "the body is of another media type than is taken here")
    METHOD_NOT_ALLOWED = ("UNSUPPORTED", 405, "the endpoint does not know this method")
    TOO_MANY_REQUESTS = ("TOOMANYREQUESTS", 429, "too many requests")
    # Of the catalog's interface and pages alone, where the name of the row is the code.
    NOT_HERE = ("NAME_UNKNOWN", 404, "there is no such thing, or it is not yours to see")
    NAME_TAKEN = ("DENIED", 409, "the name is taken")
    CONFLICT = ("DENIED", 409, "things are not as this needs them")
    INVALID = ("UNSUPPORTED", 422, "something that was said cannot be")
    EDITED = ("DENIED", 412, "it was changed meanwhile: look again, then decide")
    STORE_FULL = ("DENIED", 507, "the registry has no room for more")
    READ_ONLY = ("UNAVAILABLE", 503, "the registry's disk takes no writes now, reads go on")
    UNAVAILABLE = ("UNAVAILABLE", 503, "the registry cannot answer now, try again")
    INTERNAL = ("UNKNOWN", 500, "the registry failed; its log says more under the request's id")

    def __init__(self, code: str, status: int, message: str) -> None:
        self.code = code
        self.status = status
        self.message = message


class RegistryError(Exception):
    """An answer that is a refusal.

    Attributes:
        problem: the row of the table.
        message: the row's words, or more exact ones.
        detail: anything JSON can say, for programs.
        retry_after: seconds after which the same request may do better.
    """

    def __init__(
        self, problem: Problem, message: str = "", *, detail: Any = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message or problem.message)
        self.problem = problem
        self.message = message or problem.message
        self.detail = detail
        self.retry_after = retry_after


class UploadError(RegistryError):
    """A refusal after which the client may go on with the upload: it is told from where."""

    def __init__(self, problem: Problem, upload_id: str, offset: int, message: str = "") -> None:
        super().__init__(problem, message, detail={"offset": offset})
        self.upload_id = upload_id
        self.offset = offset


def of_storage(error: Exception) -> RegistryError | None:
    """Return what a failure of the stores means to a client; None for any other error."""
    match error:
        case MetadataFull() | StoreFull():
            return RegistryError(Problem.STORE_FULL)
        case BlobTooLarge():
            return RegistryError(Problem.BODY_TOO_LARGE, str(error))
        case MetadataReadOnly() | StoreReadOnly():
            return RegistryError(Problem.READ_ONLY, retry_after=_RETRY_AFTER)
        case MetadataUnavailable() | StoreUnavailable():
            return RegistryError(Problem.UNAVAILABLE, retry_after=_RETRY_AFTER)
    return None


def blob_unknown(digest: Digest) -> RegistryError:
    """Return the refusal of a blob that is not there."""
    return RegistryError(Problem.BLOB_UNKNOWN, detail={"digest": digest})
