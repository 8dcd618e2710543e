"""Secrets go through logins, sessions, tokens and settings, and are in no line of a log and in no refusal."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.e2e.process import free_port
from tests.e2e.server import ADMIN
from tests.e2e.wire import Answer
from tests.registry.served import Served, longshore, serving

FORM = "application/x-www-form-urlencoded"
WRONG = "not my password at all"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that logs everything."""
    settings = {
        "log_level": "debug",
        "signup": "true",
        "keys_secret": "a secret of the keys, thirty-two long",
    }
    with serving(
        tmp_path_factory.mktemp("secrets"), metrics_token="token-of-the-metrics", **settings
    ) as served:
        yield served


class Browser:
    """Keeps cookies and secrets, and every body of a refusal."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._cookies: dict[str, str] = {}
        self.secrets = {
            ADMIN.password,
            WRONG,
            "token-of-the-metrics",
            "a secret of the keys, thirty-two long",
        }
        self.proofs: set[str] = set()  # what forms carry: pages hold it, logs do not
        self.refusals: list[str] = []

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request with the cookies so far; remember what was refused and which secrets were sent."""
        sent = {**(headers or {})}
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        with closing(self._served.connect()) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
            self.secrets |= {value} - {"", '""'}
        if answer.status >= 400:
            said = "".join(
                f"{name}: {value}\n" for name, value in answer.headers.items() if name != "Set-Cookie"
            )
            self.refusals.append(said + answer.body.decode(errors="replace"))
        return answer

    def post(self, path: str, **fields: str) -> Answer:
        """Send a form."""
        return self.ask("POST", path, urlencode(fields).encode(), {"Content-Type": FORM})

    def form_of(self, path: str) -> str:
        """Open a page and return what its forms carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("GET", path).body.decode())
        assert found is not None
        self.proofs.add(found[1])
        return found[1]

    def sign_in(self, password: str) -> Answer:
        """Sign in as the administrator."""
        csrf = self.form_of("/sign-in")
        return self.post("/sign-in", name=ADMIN.name, password=password, csrf=csrf)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_secrets_of_people_are_in_no_log_and_no_refusal(served: Served) -> None:
    browser = Browser(served)
    assert browser.sign_in(WRONG).status == 401
    assert browser.sign_in(ADMIN.password).status == 303
    use_access_tokens(browser)
    use_invitations(browser)
    use_tokens(browser)
    send_nonsense(browser)
    browser.post("/sign-out", csrf=browser.form_of("/"))
    assert len(browser.refusals) > 15
    shown = served.log + served.printed + "".join(browser.refusals)
    assert not [proof for proof in browser.proofs if proof in served.log]
    for secret in sorted(browser.secrets):
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")):
            assert form not in shown, form
    assert served.files_holding(sorted(browser.secrets)) == []


def use_access_tokens(browser: Browser) -> None:
    """Make one, use it in each way, revoke it, and use it again."""
    headers = {"Content-Type": "application/json", "Authorization": basic(ADMIN.name, ADMIN.password)}
    wanted = json.dumps({"name": "ci", "permission": "delete"}).encode()
    made = json.loads(browser.ask("POST", "/api/v1/me/tokens", wanted, headers).expect(201).body)
    secret = made["secret"]
    browser.secrets.add(secret)
    for _ in range(2):
        browser.ask("GET", "/api/v1/me", headers=bearer(secret))
        browser.ask("GET", "/v2/", headers={"Authorization": basic(ADMIN.name, secret)})
        browser.ask("GET", "/token?service=longshore", headers={"Authorization": basic(ADMIN.name, secret)})
        browser.ask("GET", "/v2/nobody/app/tags/list", headers=bearer(secret))
        browser.ask(
            "DELETE", f"/api/v1/me/tokens/{made['id']}", headers={"Authorization": headers["Authorization"]}
        )


def use_invitations(browser: Browser) -> None:
    """A secret in the path of a page."""
    for path in ("/invitations/lsi_{}", "/api/v1/invitations/lsi_{}", "/api/v1/invitations/lsi_{}/accept"):
        secret = "aSecretOfAnInvitation1234567"
        browser.secrets.add(secret)
        # The page that refuses it may link to itself: that is the visitor's own address.
        answer = browser.ask("POST", path.format(secret), b"")
        assert answer.status >= 400


def use_tokens(browser: Browser) -> None:
    """Log in as an engine does, refresh, and be refused."""
    form = {
        "grant_type": "password",
        "username": ADMIN.name,
        "service": "longshore",
        "access_type": "offline",
    }
    answer = json.loads(browser.post("/token", **form, password=ADMIN.password).expect(200).body)
    browser.secrets |= {answer["token"], answer["refresh_token"]}
    browser.post("/token", **form, password=WRONG)
    browser.post("/token", grant_type="refresh_token", refresh_token=answer["refresh_token"] + "x")
    for secret in (answer["token"], answer["token"] + "x", answer["refresh_token"], "token-of-the-metrics"):
        for path in ("/v2/", "/api/v1/me", "/metrics", "/v2/a/b/manifests/v1"):
            browser.ask("GET", path, headers=bearer(secret))


def send_nonsense(browser: Browser) -> None:
    """What cannot be read is not repeated."""
    headers = {"Content-Type": "application/json", "Authorization": basic(ADMIN.name, ADMIN.password)}
    for body in (
        {"password": WRONG, "nothing": WRONG},
        {"name": {"password": WRONG}},
        {"current": ADMIN.password, "new": WRONG, "more": 1},
    ):
        for path in ("/api/v1/me/password", "/api/v1/users", "/api/v1/me/tokens"):
            browser.ask("POST", path, json.dumps(body).encode(), headers)
            browser.ask("PUT", path, json.dumps(body).encode(), headers)
    browser.ask("GET", "/v2/", headers={"Authorization": f"Digest {WRONG}"})
    browser.ask("GET", "/v2/", headers={"Authorization": f"Basic {WRONG}"})
    browser.ask("GET", "/v2/", headers={"Authorization": f"Bearer {WRONG}\x01"})


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("user", "list"), ("config",), ("doctor",)])
def test_secrets_of_settings_are_in_no_output(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A database that is away, a store that is away, and every word that a command has to say about it."""
    port = free_port()
    settings = {
        "database": f"postgresql://longshore:the-database-password@127.0.0.1:{port}/longshore",
        "storage": "s3://bucket/prefix",
        "s3_endpoint": f"http://127.0.0.1:{port}",
        "keys_secret": "the secret of the keys, thirty-two long",
        "admin_password": "the-admin-password",
        "metrics_token": "the-metrics-token",
        "log_level": "debug",
    }
    done = longshore(*command, "--data", tmp_path / "data", stdin=b"", **settings)
    said = done.stdout + done.stderr
    assert said
    for secret in (
        "the-database-password",
        "the secret of the keys",
        "the-admin-password",
        "the-metrics-token",
    ):
        assert secret not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database", "mysql://longshore:the-database-password@127.0.0.1/longshore"),
        ("database", "postgresql://longshore:the-database-password@127.0.0.1:port/longshore"),
        ("keys_secret", "the-short-secret"),
        ("admin_password", "short\x07"),
        ("metrics_token", "the metrics token"),
    ],
)
def test_a_secret_that_is_refused_is_not_repeated(tmp_path: Path, name: str, value: str) -> None:
    done = longshore("serve", "--port", "0", "--data", tmp_path / "data", stdin=b"", **{name: value})
    assert done.returncode != 0
    assert value not in done.stdout + done.stderr
    assert "the-database-password" not in done.stdout + done.stderr
    assert name in done.stderr
