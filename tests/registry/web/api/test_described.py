"""The check of answers can fail."""

import json
from typing import Any

import pytest
from jsonschema_rs import ValidationError
from multidict import CIMultiDict, CIMultiDictProxy

from tests.registry.web.api.described import check
from tests.registry.web.live import Answer

NAMED = {"items": [{"name": "ann"}], "next": None}
PEOPLE = "/api/v1/suggestions/people"


def answer(status: int, body: Any, media_type: str = "application/json") -> Answer:
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": f"{media_type}; charset=utf-8"}))
    return Answer(status, headers, json.dumps(body).encode())


def test_what_is_described_passes() -> None:
    check("GET", f"{PEOPLE}?q=a", answer(200, NAMED))


@pytest.mark.parametrize(
    "other",
    [
        answer(200, {**NAMED, "more": 1}),
        answer(200, {"items": [{"name": "ann", "secret": "x"}], "next": None}),
        answer(200, {"items": [{"name": 5}], "next": None}),
        answer(200, {"items": []}),
        answer(403, {"errors": []}, "application/problem+json"),
    ],
)
def test_what_is_not_described_fails(other: Answer) -> None:
    with pytest.raises(ValidationError):
        check("GET", PEOPLE, other)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PEOPLE, 418),
        ("GET", PEOPLE, 204),
        ("POST", PEOPLE, 200),
        ("GET", "/api/v1/none", 200),
        ("GET", "/api/v1/repositories/a/b/-/none", 200),
    ],
)
def test_statuses_and_paths_that_are_not_described_fail(method: str, path: str, status: int) -> None:
    with pytest.raises(AssertionError):
        check(method, path, answer(status, NAMED))
