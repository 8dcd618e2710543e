"""`longshore serve` with its blobs in a bucket: where that is there it starts, else it says why not."""

from pathlib import Path

import pytest

from tests.registry.served import longshore, serving
from tests.storage.servers import BUCKET, S3Server

pytestmark = pytest.mark.e2e


def test_server_starts_where_its_bucket_is(minio: S3Server, tmp_path: Path) -> None:
    with serving(tmp_path, storage=f"s3://{BUCKET}/served", s3_endpoint=minio.endpoint) as served:
        assert "longshore listens on" in served.printed
        assert not (served.data / "blobs").exists()


def test_bucket_that_is_not_there_is_told_before_anything_is_made(minio: S3Server, tmp_path: Path) -> None:
    data, endpoint = tmp_path / "data", minio.endpoint
    flags = ("serve", "--port", "0", "--data", data)
    done = longshore(*flags, storage="s3://no-such-bucket", s3_endpoint=endpoint)
    assert done.returncode == 1
    assert done.stderr == f"Error: the bucket 'no-such-bucket' at {endpoint} does not exist\n"
    assert not data.exists()


def test_credentials_that_are_missing_are_told(
    minio: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    flags = ("serve", "--port", "0", "--data", tmp_path / "data")
    done = longshore(*flags, storage=f"s3://{BUCKET}", s3_endpoint=minio.endpoint)
    assert done.returncode == 1
    assert done.stderr.endswith("cannot be reached: Unable to locate credentials\n")
