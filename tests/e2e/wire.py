"""The distribution protocol spoken by hand, for what no client does on purpose.

The names of the requests follow the specification; a status other than the expected one raises
`UnexpectedAnswer` with what the server said.
"""

import base64
import http.client
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from .clients import Account
from .images import Content, Image, Index, digest_of

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
WIRE_SECONDS = 120


class UnexpectedAnswer(AssertionError):
    """The server answered with another status than the test expects."""


@dataclass(frozen=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: HTTPMessage
    body: bytes

    def expect(self, *statuses: int) -> Self:
        """This answer, if its status is one of `statuses`."""
        if self.status not in statuses:
            raise UnexpectedAnswer(f"{self.status}, not {statuses}: {self.body[:2000]!r}")
        return self

    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)


class Wire:
    """One connection to one repository, authorized for everything in it (if `account` is).

    It is plain HTTP to `host` unless another `connection` is given.
    """

    def __init__(
        self,
        host: str,
        repository: str,
        account: Account | None = None,
        connection: HTTPConnection | None = None,
    ) -> None:
        self.host = host
        self.repository = repository
        self._connection = connection or HTTPConnection(host, timeout=WIRE_SECONDS)
        self._authorization: str | None = None
        try:
            self._authorization = self._authorize(account)
        except BaseException:
            self.close()  # nobody else will
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request to `target` and read the whole answer."""
        self._connection.request(method, target, body, self.headers(headers))
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The headers of an authorized request."""
        authorization = {"Authorization": self._authorization} if self._authorization else {}
        return {**authorization, **(more or {})}

    # Blobs

    def head_blob(self, digest: str) -> Answer:
        """Ask whether a blob is there (end-2)."""
        return self.request("HEAD", f"/v2/{self.repository}/blobs/{digest}")

    def blob(self, digest: str) -> bytes:
        """A blob's bytes (end-2)."""
        return self.request("GET", f"/v2/{self.repository}/blobs/{digest}").expect(200).body

    def blob_digest(self, digest: str) -> str:
        """The sha256 of what a blob's GET answers, computed as it streams by."""
        target = f"/v2/{self.repository}/blobs/{digest}"
        self._connection.request("GET", target, headers=self.headers())
        response = self._connection.getresponse()
        if response.status != 200:
            raise UnexpectedAnswer(f"{response.status}, not 200: {response.read()[:2000]!r}")
        return digest_of(iter(lambda: response.read(1 << 20), b""))

    def push_blob(self, content: Content) -> None:
        """Upload a blob in a POST and one PUT (end-4a, end-6)."""
        self.finish_upload(self.start_upload(), content.digest, content.data)

    def start_upload(self) -> str:
        """Begin an upload (end-4a) and return its location."""
        answer = self.request("POST", f"/v2/{self.repository}/blobs/uploads/", body=b"").expect(202)
        return _target(answer)

    def patch_upload(self, location: str, chunk: Iterable[bytes], start: int, length: int) -> str:
        """Upload the bytes `start` to `start + length - 1` (end-5) and return the next location."""
        content_range = f"{start}-{start + length - 1}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": content_range,
            "Content-Length": str(length),
        }
        return _target(self.request("PATCH", location, body=chunk, headers=headers).expect(202))

    def begin_stream(self, location: str) -> None:
        """Begin a PATCH of unknown length, as Docker sends it; `send_streamed` sends its bytes."""
        self._connection.putrequest("PATCH", location)
        for name, value in self.headers({"Transfer-Encoding": "chunked"}).items():
            self._connection.putheader(name, value)
        self._connection.endheaders()

    def send_streamed(self, data: bytes) -> None:
        """Send one chunk of the PATCH that `begin_stream` began."""
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    def upload_offset(self, location: str) -> tuple[str, int]:
        """The upload's current location and how many bytes of it the server has (end-13)."""
        answer = self.request("GET", location).expect(204)
        last = re.fullmatch(r"0-(\d+)", answer.headers["Range"] or "")
        if last is None:
            raise UnexpectedAnswer(f"Range: {answer.headers['Range']}")
        # An empty upload and one of one byte are both "0-0"; the tests send more than one byte.
        return _target(answer), int(last[1]) + 1 if last[1] != "0" else 0

    def finish_upload(self, location: str, digest: str, data: bytes = b"") -> None:
        """Close an upload (end-6), with its last bytes if there are any left."""
        separator = "&" if "?" in location else "?"
        target = location + separator + urlencode({"digest": digest})
        self.request("PUT", target, body=data).expect(201)

    # Manifests

    def manifest(self, reference: str) -> bytes:
        """A manifest's exact bytes (end-3)."""
        target = f"/v2/{self.repository}/manifests/{reference}"
        return self.request("GET", target, headers={"Accept": MANIFEST_TYPES}).expect(200).body

    def has_manifest(self, reference: str) -> bool:
        """Whether there is a manifest behind `reference`."""
        target = f"/v2/{self.repository}/manifests/{reference}"
        answer = self.request("HEAD", target, headers={"Accept": MANIFEST_TYPES})
        return answer.expect(200, 404).status == 200

    def manifest_digest(self, reference: str) -> str:
        """What the server calls the manifest behind `reference`."""
        target = f"/v2/{self.repository}/manifests/{reference}"
        answer = self.request("HEAD", target, headers={"Accept": MANIFEST_TYPES}).expect(200)
        return str(answer.headers["Docker-Content-Digest"])

    def push_manifest(self, reference: str, manifest: Content) -> None:
        """Put a manifest (end-7a)."""
        target = f"/v2/{self.repository}/manifests/{reference}"
        headers = {"Content-Type": manifest.media_type}
        self.request("PUT", target, body=manifest.data, headers=headers).expect(201)

    def push(self, reference: str, content: Image | Index) -> None:
        """Push blobs, then children by digest, then the manifest as `reference`."""
        for blob in content.blobs:
            self.push_blob(blob)
        for child in content.children:
            self.push(child.manifest.digest, child)
        self.push_manifest(reference, content.manifest)

    # Access

    def _authorize(self, account: Account | None) -> str | None:
        """Do what the server's challenge asks for."""
        challenge = self.request("GET", "/v2/").expect(200, 401).headers["WWW-Authenticate"]
        if challenge is None:
            return None
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            parameters = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            return f"Bearer {self._token(parameters, account)}"
        return _basic(account) if account else None

    def _token(self, challenge: dict[str, str], account: Account | None) -> str:
        query = {
            "service": challenge.get("service", ""),
            "scope": f"repository:{self.repository}:pull,push,delete",
        }
        headers = {"Authorization": _basic(account)} if account else {}
        target = f"{urlsplit(challenge['realm']).path}?{urlencode(query)}"
        answer = self.request("GET", target, headers=headers).expect(200)
        return str(json.loads(answer.body)["token"])


def _basic(account: Account) -> str:
    credentials = f"{account.name}:{account.password}".encode()
    return f"Basic {base64.b64encode(credentials).decode()}"


def _target(answer: Answer) -> str:
    """The Location of an answer without scheme and host, which a server may or may not send."""
    location = urlsplit(answer.headers["Location"] or "")
    return location.path + (f"?{location.query}" if location.query else "")


# What a request raises when the server goes away in the middle of it.
CONNECTION_LOST = (OSError, http.client.HTTPException)
