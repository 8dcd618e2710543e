"""A look into the bucket, and stores that reach it otherwise than the one under test."""

from dataclasses import replace
from typing import Any

from registry.holds import UploadHolds
from storage.s3 import S3Store
from storage.s3_client import S3Place
from tests.storage.servers import BUCKET
from tests.storage.stores import PLAN, Worker


class Bucket:
    """What is in the bucket below the test's prefix."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix}/"

    def keys(self) -> set[str]:
        found = self._client.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix).get("Contents", [])
        return {each["Key"].removeprefix(self._prefix) for each in found}

    def multiparts(self) -> set[str]:
        found = self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        keys = {each["Key"] for each in found}
        return {key.removeprefix(self._prefix) for key in keys if key.startswith(self._prefix)}

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=self._prefix + key)

    def begin(self, key: str) -> None:
        self._client.create_multipart_upload(Bucket=BUCKET, Key=self._prefix + key)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=self._prefix + key, Body=content)

    def blobs(self) -> set[str]:
        return {key for key in self.keys() if key.startswith("blobs/")}

    def tails(self) -> set[str]:
        return {key for key in self.keys() if key.startswith("uploads/")}


def store_at(worker: Worker, place: S3Place, **changed: Any) -> S3Store:
    """Return a store at the place as it is when some of it is changed."""
    return S3Store(replace(place, **changed), UploadHolds(worker.metadata), PLAN)
