"""The OCI Distribution API under `/v2/`. The ids in brackets are the specification's endpoints."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from registry.errors import Problem, RegistryError
from registry.interface import Blob, BlobLink, Chunk, Condition, Descriptor, Page, Upload
from registry.manifest import OCI_INDEX
from registry.names import (
    MAX_NAME,
    Reference,
    RepositoryName,
    Tag,
    parse_digest,
    parse_name,
    parse_reference,
    parse_tag,
)
from registry.web.access import Gate
from registry.web.blob import BlobResponse, RangeNotSatisfiable, parse_content_range, parse_ranges, whole_blob
from registry.web.body import limit_body, stream_body
from registry.web.recall import MAX_BODY, keep
from storage.digest import DEFAULT_ALGORITHM, Digest, InvalidDigest, check_algorithm

# More `tag` parameters than this are refused (the specification asks for 10 at least).
_MAX_TAGS: Final = 100

# A page of referrers ends where its document grows larger than a client must accept a manifest to be.
_MAX_REFERRERS_BYTES: Final = 4 * 1024 * 1024

# A name that no repository has, as no client can ask for it.
_NOWHERE: Final = RepositoryName("-/-")

_IMMUTABLE: Final = "max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for: bytes of a manifest, entries of a page."""

    manifest: int
    page: int


class Distribution:
    """The handlers. Each lets the caller in, makes one call and says what came of it."""

    def __init__(self, gate: Gate, limits: Limits, *, redirects: bool = False) -> None:
        self._gate = gate
        self._limits = limits
        self._redirects = redirects

    def routes(self) -> list[web.RouteDef]:
        """Return every route of the API."""
        name = "/v2/{name:.+}"
        manifest, blob = name + "/manifests/{reference}", name + "/blobs/{digest}"
        uploads, upload = name + "/blobs/uploads", name + "/blobs/uploads/{upload}"
        return [
            web.get("/v2", self.ping),
            web.get("/v2/", self.ping),
            web.get("/v2/_catalog", self.list_repositories, allow_head=False),
            web.head(manifest, self.head_manifest),
            web.get(manifest, self.get_manifest, allow_head=False),
            web.put(manifest, self.put_manifest),
            web.delete(manifest, self.delete_manifest),
            web.post(uploads, self.start_upload),
            web.post(uploads + "/", self.start_upload),
            web.get(upload, self.get_upload),
            web.patch(upload, self.append_upload),
            web.put(upload, self.finish_upload),
            web.delete(upload, self.cancel_upload),
            web.head(blob, self.head_blob),
            web.get(blob, self.get_blob, allow_head=False),
            web.delete(blob, self.delete_blob),
            web.get(name + "/tags/list", self.list_tags, allow_head=False),
            web.get(name + "/referrers/{digest}", self.list_referrers, allow_head=False),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        """Say that this is a registry, to whoever has a token [end-1]."""
        await self._gate.require_login(request)
        return web.json_response({})

    # -- manifests -------------------------------------------------------------------------------------

    async def head_manifest(self, request: web.Request) -> web.StreamResponse:
        """Say what a reference means [end-3]."""
        registry = await self._gate.enter(request)
        descriptor = await registry.find_manifest(_name(request), _reference(request))
        headers = _manifest_headers(request, descriptor)
        if _is_unmodified(request, descriptor.digest):
            return web.Response(status=304, headers=headers)
        headers["Content-Length"] = str(descriptor.size)
        keep(request)
        return web.Response(headers=headers, content_type=descriptor.media_type)

    async def get_manifest(self, request: web.Request) -> web.StreamResponse:
        """Send a manifest as it was pushed, whatever Accept says: nothing is ever converted [end-3]."""
        registry = await self._gate.enter(request)
        name, reference = _name(request), _reference(request)
        if "If-None-Match" in request.headers:
            # Without the bytes, which whoever asks this way mostly has.
            descriptor = await registry.find_manifest(name, reference)
            if _is_unmodified(request, descriptor.digest):
                return web.Response(status=304, headers=_manifest_headers(request, descriptor))
        manifest = await registry.get_manifest(name, reference)
        headers = _manifest_headers(request, manifest.descriptor)
        keep(request)
        return web.Response(
            body=manifest.content, headers=headers, content_type=manifest.descriptor.media_type
        )

    async def put_manifest(self, request: web.Request) -> web.StreamResponse:
        """Take a manifest by tag, or by digest with any number of tags [end-7a, end-7b]."""
        registry = await self._gate.enter(request)
        name, reference = _name(request), parse_reference(request.match_info["reference"])
        by_digest = isinstance(reference, Digest)
        tags = _tags(request) if by_digest else [Tag(reference)]
        pushed = await registry.put_manifest(
            name,
            limit_body(request, self._limits.manifest),
            request.content_type if "Content-Type" in request.headers else None,
            digest=reference if isinstance(reference, Digest) else None,
            tags=tags,
            condition=_condition(request),
        )
        digest = pushed.descriptor.digest
        response = web.Response(status=201, headers=_created(request, "manifests", digest))
        if pushed.subject is not None:
            response.headers["OCI-Subject"] = pushed.subject
        if by_digest:
            for tag in tags:
                response.headers.add("OCI-Tag", tag)
        return response

    async def delete_manifest(self, request: web.Request) -> web.StreamResponse:
        """Delete a tag, or a manifest with its tags [end-9]."""
        registry = await self._gate.enter(request)
        reference = _reference(request)
        if isinstance(reference, Digest):
            await registry.delete_manifest(_name(request), reference)
        else:
            await registry.delete_tag(_name(request), reference)
        return web.Response(status=202)

    # -- blobs -----------------------------------------------------------------------------------------

    async def head_blob(self, request: web.Request) -> web.StreamResponse:
        """Say whether a blob is there [end-2]."""
        registry = await self._gate.enter(request)
        descriptor = await registry.find_blob(_name(request), _digest(request))
        headers = _blob_headers(request, descriptor)
        if _is_unmodified(request, descriptor.digest):
            return web.Response(status=304, headers=headers)
        headers["Content-Length"] = str(descriptor.size)
        keep(request)
        return web.Response(headers=headers, content_type=descriptor.media_type)

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or the ranges of it that are asked for, or say where else they are [end-2]."""
        registry = await self._gate.enter(request)
        name, digest = _name(request), _digest(request)
        if "If-None-Match" in request.headers:
            descriptor = await registry.find_blob(name, digest)
            if _is_unmodified(request, descriptor.digest):
                return web.Response(status=304, headers=_blob_headers(request, descriptor))
        link = await registry.link_blob(name, digest) if self._redirects else None
        if link is not None:
            return web.Response(status=307, headers=_link_headers(link))
        blob = await registry.open_blob(name, digest)
        try:
            ranges = _ranges(request, blob)
        except RangeNotSatisfiable:
            await blob.reader.close()
            raise
        headers = _blob_headers(request, blob.descriptor)
        if ranges is None and blob.descriptor.size <= MAX_BODY:
            keep(request)
            return await whole_blob(blob, headers)
        response = BlobResponse(blob, ranges, headers)
        await response.send(request)
        return response

    async def delete_blob(self, request: web.Request) -> web.StreamResponse:
        """Take a blob from the repository [end-10]."""
        registry = await self._gate.enter(request)
        await registry.delete_blob(_name(request), _digest(request))
        return web.Response(status=202)

    # -- uploads ---------------------------------------------------------------------------------------

    async def start_upload(self, request: web.Request) -> web.StreamResponse:
        """Mount a blob, take one in a single request, or begin an upload [end-4a, end-4b, end-11]."""
        registry = await self._gate.enter(request)
        name, query = _name(request), request.query
        if "mount" in query:
            mounted = await registry.mount_blob(name, parse_digest(query["mount"]), _source(request))
            if mounted is not None:
                return web.Response(status=201, headers=_created(request, "blobs", mounted.digest))
        digest = parse_digest(query["digest"]) if "digest" in query and "mount" not in query else None
        upload = await registry.start_upload(name, _algorithm(request, digest))
        if digest is None:
            return web.Response(status=202, headers=_upload_headers(request, upload))
        try:
            await registry.finish_upload(name, upload.id, digest, Chunk(stream_body(request)))
        except BaseException:
            # Its id was told to nobody who could go on with it.
            with contextlib.suppress(RegistryError):
                await registry.cancel_upload(name, upload.id)
            raise
        return web.Response(status=201, headers=_created(request, "blobs", digest))

    async def get_upload(self, request: web.Request) -> web.StreamResponse:
        """Say how far an upload has come [end-13]."""
        registry = await self._gate.enter(request)
        upload = await registry.get_upload(_name(request), request.match_info["upload"])
        return web.Response(status=204, headers=_upload_headers(request, upload))

    async def append_upload(self, request: web.Request) -> web.StreamResponse:
        """Take a chunk, or a stream of unknown length [end-5]."""
        registry = await self._gate.enter(request)
        chunk = _chunk(request)
        upload = await registry.append_upload(_name(request), request.match_info["upload"], chunk)
        return web.Response(status=202, headers=_upload_headers(request, upload))

    async def finish_upload(self, request: web.Request) -> web.StreamResponse:
        """Take the last chunk, if there is one, and close the upload [end-6]."""
        registry = await self._gate.enter(request)
        if "digest" not in request.query:
            raise RegistryError(Problem.DIGEST_INVALID, "the closing PUT says no digest")
        digest = parse_digest(request.query["digest"])
        upload_id = request.match_info["upload"]
        await registry.finish_upload(_name(request), upload_id, digest, _chunk(request))
        return web.Response(status=201, headers=_created(request, "blobs", digest))

    async def cancel_upload(self, request: web.Request) -> web.StreamResponse:
        """Give an upload up [end-14]."""
        registry = await self._gate.enter(request)
        await registry.cancel_upload(_name(request), request.match_info["upload"])
        return web.Response(status=204)

    # -- lists -----------------------------------------------------------------------------------------

    async def list_tags(self, request: web.Request) -> web.StreamResponse:
        """List the tags of a repository, under the name that it was asked for by [end-8a, end-8b]."""
        registry = await self._gate.enter(request)
        name, limit = _name(request), self._page_limit(request)
        page = await registry.list_tags(name, last=request.query.get("last", ""), limit=limit)
        body = {"name": request.match_info["name"], "tags": list(page.items)}
        keep(request)
        return web.json_response(body, headers=_link(request, page, limit))

    async def list_repositories(self, request: web.Request) -> web.StreamResponse:
        """List the repositories that the caller may see."""
        registry = await self._gate.enter(request)
        limit = self._page_limit(request)
        page = await registry.list_repositories(last=request.query.get("last", ""), limit=limit)
        return web.json_response({"repositories": list(page.items)}, headers=_link(request, page, limit))

    async def list_referrers(self, request: web.Request) -> web.StreamResponse:
        """List the manifests that refer to a digest, which need not be there [end-12a, end-12b]."""
        registry = await self._gate.enter(request)
        limit, artifact_type = self._page_limit(request), request.query.get("artifactType") or None
        page = await registry.list_referrers(
            _name(request),
            _digest(request),
            artifact_type=artifact_type,
            last=request.query.get("last", ""),
            limit=limit,
        )
        entries, complete = _fit([each.to_json() for each in page.items])
        digests: Page[str] = Page([each["digest"] for each in entries], more=page.more or not complete)
        headers = _link(request, digests, limit)
        if artifact_type is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        # Not json_response(): clients compare the whole Content-Type, which must name no charset.
        return web.Response(body=_index_of(entries), headers=headers, content_type=OCI_INDEX)

    def _page_limit(self, request: web.Request) -> int:
        text = request.query.get("n")
        if text is None:
            return self._limits.page
        if not re.fullmatch("[0-9]{1,9}", text):
            raise RegistryError(Problem.PAGE_INVALID, "n is a whole number, 0 or more")
        return min(int(text), self._limits.page)


# -- reading requests ------------------------------------------------------------------------------------


def _name(request: web.Request) -> RepositoryName:
    text = request.match_info["name"]
    if len(request.host) + 1 + len(text) > MAX_NAME:
        message = f"host and repository name have at most {MAX_NAME} characters together"
        raise RegistryError(Problem.NAME_INVALID, message)
    return parse_name(text)


def _source(request: web.Request) -> RepositoryName | None:
    """Return where to mount from; None for anywhere. What cannot be a name holds no blob: upload it."""
    text = request.query.get("from")
    if not text:
        return None
    try:
        return parse_name(text)
    except RegistryError:
        return _NOWHERE


def _digest(request: web.Request) -> Digest:
    return parse_digest(request.match_info["digest"])


def _reference(request: web.Request) -> Reference:
    """Return the reference to look up. What cannot be a tag is no tag of the repository."""
    text = request.match_info["reference"]
    if ":" in text:
        return parse_digest(text)
    try:
        return parse_tag(text)
    except RegistryError as error:
        raise RegistryError(Problem.MANIFEST_UNKNOWN, error.message, detail={"reference": text}) from error


def _tags(request: web.Request) -> list[Tag]:
    tags = list(dict.fromkeys(request.query.getall("tag", [])))
    if len(tags) > _MAX_TAGS:
        raise RegistryError(Problem.TOO_MANY_TAGS, f"a request sets at most {_MAX_TAGS} tags")
    return [parse_tag(tag) for tag in tags]


def _algorithm(request: web.Request, digest: Digest | None) -> str:
    """Return what to hash an upload with: what the client announces, or what its digest says."""
    if digest is not None:
        return digest.algorithm
    algorithm = request.query.get("digest-algorithm", DEFAULT_ALGORITHM)
    try:
        check_algorithm(algorithm)
    except InvalidDigest as error:
        raise RegistryError(Problem.DIGEST_INVALID, str(error)) from error
    return algorithm


def _chunk(request: web.Request) -> Chunk:
    """Return the body with what Content-Range says of it."""
    header = request.headers.get("Content-Range")
    if header is None:
        return Chunk(stream_body(request))
    said = parse_content_range(header)
    if request.content_length not in (None, len(said)):
        raise RegistryError(Problem.SIZE_INVALID, "Content-Range and Content-Length differ")
    return Chunk(stream_body(request), said.start, len(said))


def _condition(request: web.Request) -> Condition:
    return Condition(_etags(request, "If-Match"), _etags(request, "If-None-Match"))


def _etags(request: web.Request, header: str) -> frozenset[str] | None:
    """Return the entity tags of a conditional header, quoted or not; weak ones count as strong."""
    values = request.headers.getall(header, [])
    if not values:
        return None
    texts = (text.strip() for text in ",".join(values).split(","))
    return frozenset(text.removeprefix("W/").strip('"') for text in texts if text)


def _is_unmodified(request: web.Request, digest: Digest) -> bool:
    known = _etags(request, "If-None-Match")
    return known is not None and not known.isdisjoint({digest, "*"})


def _ranges(request: web.Request, blob: Blob) -> Sequence[range] | None:
    header = request.headers.get("Range")
    if header is None:
        return None
    known = _etags(request, "If-Range")
    if known is not None and blob.descriptor.digest not in known:
        return None
    return parse_ranges(header, blob.descriptor.size)


# -- writing responses -----------------------------------------------------------------------------------


def _path(request: web.Request, *rest: str) -> str:
    """Return a path in the repository. Relative, so that it holds behind any proxy and for any scheme."""
    return "/".join(("/v2", request.match_info["name"], *rest))


def _created(request: web.Request, kind: str, digest: Digest) -> dict[str, str]:
    return {"Location": _path(request, kind, digest), "Docker-Content-Digest": digest}


def _upload_headers(request: web.Request, upload: Upload) -> dict[str, str]:
    headers = {
        "Location": _path(request, "blobs", "uploads", upload.id),
        "Docker-Upload-UUID": upload.id,
        # The last byte, inclusive; dockerd cannot read the "0--1" that an empty upload would have.
        "Range": f"0-{max(upload.offset - 1, 0)}",
    }
    if upload.chunk_min_length is not None:
        headers["OCI-Chunk-Min-Length"] = str(upload.chunk_min_length)
    return headers


def _manifest_headers(request: web.Request, descriptor: Descriptor) -> dict[str, str]:
    by_tag = ":" not in request.match_info["reference"]
    headers = _content_headers(request, descriptor.digest, "no-cache" if by_tag else _IMMUTABLE)
    if descriptor.warning is not None:
        headers["Warning"] = _warning(descriptor.warning)
    return headers


def _warning(text: str) -> str:
    """Return text as clients show it to who pulls ("Warnings"; RFC 7234, section 5.5)."""
    quoted = text.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'


def _blob_headers(request: web.Request, descriptor: Descriptor) -> dict[str, str]:
    return {**_content_headers(request, descriptor.digest, _IMMUTABLE), "Accept-Ranges": "bytes"}


def _link_headers(link: BlobLink) -> dict[str, str]:
    """Return the headers of a redirect, which nobody may keep: it ends, and opens the blob to anybody."""
    return {
        "Location": link.url,
        "Docker-Content-Digest": link.descriptor.digest,
        "Cache-Control": "no-store",
    }


def _content_headers(request: web.Request, digest: Digest, caching: str) -> dict[str, str]:
    private = "private, " if "Authorization" in request.headers else ""
    return {
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": private + caching,
    }


def _link(request: web.Request, page: Page[str], limit: int) -> dict[str, str]:
    """Return the Link header to the next page, if there is one (RFC 8288)."""
    if not page.more or not page.items:
        return {}
    query = {**request.query, "n": str(limit), "last": page.items[-1]}
    return {"Link": f'<{request.rel_url.raw_path}?{urlencode(query)}>; rel="next"'}


def _index_of(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _fit(entries: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """Return as many entries as one document may hold, and whether that is all of them."""
    size = len(_index_of([]))
    for count, entry in enumerate(entries):
        size += len(json.dumps(entry)) + len(", ")
        if count and size > _MAX_REFERRERS_BYTES:
            return entries[:count], False
    return entries, True
