"""What went wrong, in the words that a command ends with."""

from sqlalchemy.exc import DBAPIError

from auth.keys import KeyFileError
from registry.config import Settings
from registry.errors import RegistryError
from registry.installation import database_of
from registry.setting_layers import InvalidSettings
from storage.blobs import BlobStoreError
from storage.metadata.engine import MetadataFull, MetadataUnavailable
from storage.metadata.migrate import DatabaseTooNew


def words_for(error: Exception, settings: Settings) -> str | None:
    """Return what to tell the operator; None for what should not have happened."""
    match error:
        case BrokenPipeError():
            return None  # whoever reads our output has seen enough: click ends without a word
        case RegistryError() | DatabaseTooNew() | KeyFileError() | InvalidSettings() | BlobStoreError():
            return str(error)
        case OSError():
            known = error.filename is not None and error.strerror is not None
            return f"{error.filename}: {error.strerror}" if known else str(error)
        case DBAPIError() | MetadataFull() | MetadataUnavailable():
            reason = error.orig if isinstance(error, DBAPIError) else error
            return f"{database_of(settings)}: {reason}"
        case _:
            return None
