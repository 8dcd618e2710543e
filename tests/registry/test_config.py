import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.config import (
    COMPUTED_DEFAULTS,
    MASK,
    RULES,
    Loaded,
    Settings,
    environment_name,
    flag_name,
    is_secret,
    markdown_table,
    rows,
    table,
    words,
)
from registry.setting_kinds import DURATION_UNITS, SIZE_UNITS, is_loopback, parse_quantity, show_quantity
from registry.setting_layers import InvalidSettings, load

NAMES = tuple(Settings.model_fields)


def given_by(
    environ: Mapping[str, str] | None = None,
    toml: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    return load(environ=environ or {}, config_file=toml, flags=flags or {})


def problems(
    environ: Mapping[str, str] | None = None,
    toml: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        given_by(environ, toml, flags)
    # The traceback must not show what the message hides.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return list(caught.value.problems)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# -- layers ----------------------------------------------------------------------------------------------


def test_defaults() -> None:
    loaded = given_by()
    assert loaded.settings == Settings()
    assert loaded.sources == dict.fromkeys(NAMES, "default")
    assert loaded.settings.data == Path("data")
    assert loaded.settings.refresh_token_lifetime == 90 * 24 * 3600
    assert loaded.settings.manifest_limit == 4 * 1024 * 1024
    assert 1 <= loaded.settings.workers <= 4


def test_every_default_is_a_value_that_is_accepted() -> None:
    assert Settings.model_validate(Settings().model_dump()) == Settings()


def test_each_layer_is_stronger_than_the_one_before(tmp_path: Path) -> None:
    toml = written(tmp_path / "longshore.toml", "port = 1\nworkers = 1\npage_limit = 1\n")
    environ = {"LONGSHORE_WORKERS": "2", "LONGSHORE_PAGE_LIMIT": "2"}
    loaded = given_by(environ, toml, {"page_limit": 3})
    assert (loaded.settings.port, loaded.settings.workers, loaded.settings.page_limit) == (1, 2, 3)
    assert loaded.sources["host"] == "default"
    assert loaded.sources["port"] == f"port in {toml}"
    assert loaded.sources["workers"] == "LONGSHORE_WORKERS in the environment"
    assert loaded.sources["page_limit"] == "--page-limit"


def test_only_the_strongest_value_is_checked(tmp_path: Path) -> None:
    toml = written(tmp_path / "longshore.toml", "port = 'nonsense'")
    assert given_by({"LONGSHORE_PORT": "80"}, toml).settings.port == 80


def test_flags_that_were_not_given_do_not_count() -> None:
    loaded = given_by({"LONGSHORE_PORT": "80"}, flags={"port": None, "trusted_proxies": ()})
    assert loaded.settings.port == 80
    assert loaded.sources["trusted_proxies"] == "default"


def test_the_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    named = written(tmp_path / "named.toml", "port = 1")
    flag = written(tmp_path / "flag.toml", "port = 2")
    assert given_by({"LONGSHORE_CONFIG": str(named)}).settings.port == 1
    assert given_by({"LONGSHORE_CONFIG": str(named)}, flag).settings.port == 2
    assert given_by({"LONGSHORE_CONFIG": ""}).settings.port == 5000


def test_the_rest_of_the_environment_is_nobodys_business() -> None:
    assert given_by({"PORT": "nonsense", "longshore_port": "1", "PATH": "/bin"}).settings == Settings()


def test_an_empty_variable_unsets_what_is_optional(tmp_path: Path) -> None:
    toml = written(
        tmp_path / "longshore.toml", "external_url = 'https://hub.test'\ntrusted_proxies = ['::1']"
    )
    loaded = given_by({"LONGSHORE_EXTERNAL_URL": "", "LONGSHORE_TRUSTED_PROXIES": ""}, toml)
    assert loaded.settings.external_url is None
    assert loaded.settings.trusted_proxies == ()
    assert loaded.sources["external_url"] == "LONGSHORE_EXTERNAL_URL in the environment"


def test_toml_files_of_other_editors(tmp_path: Path) -> None:
    toml = written(tmp_path / "longshore.toml", b"\xef\xbb\xbfport = 1\r\nhost = 'localhost'\r\n")
    assert given_by(toml=toml).settings.port == 1


# -- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", " 443 ", 443),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("host", "::", "::"),
        ("host", "hub_1.internal", "hub_1.internal"),
        ("data", "/srv/long shore", Path("/srv/long shore")),
        ("external_url", "https://Hub.Example/", "https://hub.example"),
        ("external_url", "HTTP://[::1]:05000", "http://[::1]:5000"),
        ("trusted_proxies", "10.0.0.0/8, ::1,", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        ("auth_off_anywhere", "yes", True),
        ("sparse", "all", "all"),
        ("service", "hub.example:5000", "hub.example:5000"),
        ("token_lifetime", "90", 90),
        ("token_lifetime", "12h", 12 * 3600),
        ("upload_ttl", "7d", 7 * 86400),
        ("sweep_interval", "45 s", 45),
        ("manifest_limit", "65536", 65536),
        ("manifest_limit", "512KiB", 512 * 1024),
        ("manifest_limit", "64MiB", 64 * 1024 * 1024),
        ("shutdown_timeout", "0", 0),
        ("storage", "", None),
        ("storage", "/srv/blobs", "/srv/blobs"),
        ("storage", "s3://some.bucket", "s3://some.bucket"),
        ("storage", "s3://some-bucket/a/B_2/", "s3://some-bucket/a/B_2"),
        ("s3_part_size", "16MiB", 16 * 1024 * 1024),
    ],
)
def test_values_of_the_environment(name: str, text: str, value: object) -> None:
    loaded = given_by({environment_name(name): text})
    assert getattr(loaded.settings, name) == value


def test_values_of_the_file_are_typed(tmp_path: Path) -> None:
    text = 'trusted_proxies = ["10.0.0.0/8", "192.168.1.7"]\nauth_off_anywhere = true\ntoken_lifetime = 60\n'
    loaded = given_by(toml=written(tmp_path / "longshore.toml", text))
    assert loaded.settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.168.1.7/32"))
    assert loaded.settings.auth_off_anywhere is True
    assert loaded.settings.token_lifetime == 60


@pytest.mark.parametrize(
    "where", ["https://id.test/keys", "http://127.0.0.1:80/k", "http://localhost/k", "FILE"]
)
def test_keys_of_an_outside_issuer(tmp_path: Path, where: str) -> None:
    keys = written(tmp_path / "keys.json", "{}")
    where = where.replace("FILE", str(keys))
    flags = {"outside_issuer": "https://id.test", "outside_audience": "hub", "outside_jwks": where}
    assert given_by(flags=flags).settings.outside_jwks == where


def test_tls_from_two_files(tmp_path: Path) -> None:
    certificate, key = written(tmp_path / "chain.pem", ""), written(tmp_path / "key.pem", "")
    loaded = given_by(flags={"tls_certificate": certificate, "tls_key": str(key)})
    assert (loaded.settings.tls_certificate, loaded.settings.tls_key) == (certificate, key)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost"])
def test_auth_may_be_off_on_loopback(host: str) -> None:
    assert is_loopback(host)
    assert given_by({"LONGSHORE_AUTH": "off", "LONGSHORE_HOST": host}).settings.auth == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.1.1", "hub", "localhost.example", "128.0.0.1"])
def test_auth_may_be_off_elsewhere_only_by_force(host: str) -> None:
    assert not is_loopback(host)
    flags = {"auth": "off", "host": host}
    [problem] = problems(flags=flags)
    assert problem.startswith(
        f"auth = 'off' (--auth), host = '{host}' (--host), auth_off_anywhere = false (default):"
    )
    assert given_by(flags={**flags, "auth_off_anywhere": True}).settings.auth == "off"


# -- messages --------------------------------------------------------------------------------------------

NETWORK_WORDS = "a list of IP networks such as 10.0.0.0/8 or 192.168.1.7, separated by commas"
ORIGIN_WORDS = "an http:// or https:// URL without user, path or query"
HOST_WORDS = "an IP address or a host name, without a port"
FILE_WORDS = "the path of a file that can be read, with ~ written out"
JWKS_WORDS = "an https:// URL, an http:// URL of a loopback host, or the path of a file that can be read"
PATH_WORDS = "a path, with ~ written out"
DATABASE_WORDS = "a URL such as postgresql://user:password@host:5432/database"
STORAGE_WORDS = "the path of a directory, with ~ written out, or s3://bucket/prefix"
SERVICE_WORDS = "a name of letters, digits and . _ : -"
PASSWORD_WORDS = "printable text of at least 8 characters"
BEARER_WORDS = "at least 8 characters out of letters, digits and . _ ~ + / -"
TOKEN_WORDS = "a duration from 1m to 1d, in seconds or such as 30s, 10m, 12h or 7d"
SECONDS_WORDS = "a duration from 1s to 1h, in seconds or such as 30s, 10m, 12h or 7d"
MANIFEST_WORDS = "a size from 64KiB to 64MiB, in bytes or such as 512KiB or 4MiB"

WRONG = [
    ("host", "", HOST_WORDS),
    ("host", "127.0.0.1:80", HOST_WORDS),
    ("host", "127.1", HOST_WORDS),
    ("host", "a b", HOST_WORDS),
    ("port", "", "a whole number from 0 to 65535"),
    ("port", "http", "a whole number from 0 to 65535"),
    ("port", "65536", "a whole number from 0 to 65535"),
    ("port", "-1", "a whole number from 0 to 65535"),
    ("port", "80.0", "a whole number from 0 to 65535"),
    ("port", "٨٠", "a whole number from 0 to 65535"),
    ("port", True, "a whole number from 0 to 65535"),
    ("port", 80.0, "a whole number from 0 to 65535"),
    ("data", "", PATH_WORDS),
    ("data", "~/data", PATH_WORDS),
    ("data", "a\0b", PATH_WORDS),
    ("workers", "0", "a whole number from 1 to 256"),
    ("database", "longshore.db", DATABASE_WORDS),
    ("database", "mysql://user@host/db", DATABASE_WORDS),
    ("database", "postgresql://host", DATABASE_WORDS),
    ("database", "postgresql://host/d b", DATABASE_WORDS),
    ("database_pool", "1", "a whole number from 2 to 200"),
    ("database_timeout", "0", "a duration from 1s to 1h, in seconds or such as 30s, 10m, 12h or 7d"),
    ("keys_secret", "short", "printable text of at least 32 characters"),
    ("external_url", "hub.test", ORIGIN_WORDS),
    ("external_url", "ftp://hub.test", ORIGIN_WORDS),
    ("external_url", "https://hub.test/v2", ORIGIN_WORDS),
    ("external_url", "https://hub.test?a=b", ORIGIN_WORDS),
    ("external_url", "https://hub.test:0", ORIGIN_WORDS),
    ("external_url", "https://hub.test:70000", ORIGIN_WORDS),
    ("external_url", "https://[::z]", ORIGIN_WORDS),
    ("external_url", "https://[1.2.3.4]", ORIGIN_WORDS),
    ("external_url", "https://-hub", ORIGIN_WORDS),
    ("trusted_proxies", "10.0.0.0/8,proxy", f"{NETWORK_WORDS}: 'proxy' is not one"),
    ("trusted_proxies", "10.0.0.1/8", f"{NETWORK_WORDS}: the network around 10.0.0.1/8 is 10.0.0.0/8"),
    ("trusted_proxies", 5, NETWORK_WORDS),
    ("trusted_proxies", [5], NETWORK_WORDS),
    ("tls_certificate", "/nowhere/chain.pem", f"{FILE_WORDS}: no such file or directory"),
    ("tls_key", "/", f"{FILE_WORDS}: it is not a regular file"),
    ("tls_key", "~/key.pem", FILE_WORDS),
    ("auth", "no", "one of on, off"),
    ("auth", True, "one of on, off"),
    ("auth_off_anywhere", "maybe", "true or false"),
    ("admin_password", "short", PASSWORD_WORDS),
    ("admin_password", "new line\n", PASSWORD_WORDS),
    ("admin_password", "byte \udcff byte", PASSWORD_WORDS),
    ("admin_password", 12345678, PASSWORD_WORDS),
    ("default_visibility", "Private", "one of private, public"),
    ("sparse", "some", "one of none, index, all"),
    ("signup", "perhaps", "true or false"),
    ("organizations", "nobody", "one of everybody, administrators"),
    ("session_lifetime", "1m", "a duration from 5m to 3650d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("service", 'hub"', SERVICE_WORDS),
    ("token_lifetime", "59", TOKEN_WORDS),
    ("token_lifetime", "2d", TOKEN_WORDS),
    ("token_lifetime", "5 minutes", TOKEN_WORDS),
    ("token_lifetime", "1h30m", TOKEN_WORDS),
    (
        "refresh_token_lifetime",
        "1m",
        "a duration from 1h to 3650d, in seconds or such as 30s, 10m, 12h or 7d",
    ),
    ("storage", "s3://", STORAGE_WORDS),
    ("storage", "s3://B", STORAGE_WORDS),
    ("storage", "s3://bucket//x", STORAGE_WORDS),
    ("storage", "s3://bucket/a/../b", STORAGE_WORDS),
    ("storage", "s3://bucket/a b", STORAGE_WORDS),
    ("storage", "S3://bucket", STORAGE_WORDS),
    ("storage", "gs://bucket", STORAGE_WORDS),
    ("storage", "~/blobs", STORAGE_WORDS),
    ("s3_endpoint", "127.0.0.1:9000", ORIGIN_WORDS),
    ("s3_region", " ", "text that is not empty"),
    ("s3_redirect", "maybe", "true or false"),
    ("s3_public_endpoint", "https://s3.test/bucket", ORIGIN_WORDS),
    ("s3_url_lifetime", "8d", "a duration from 1m to 7d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("s3_part_size", "4MiB", "a size from 5MiB to 32MiB, in bytes or such as 512KiB or 4MiB"),
    ("s3_grow_parts", 3, "true or false"),
    ("s3_path_style", "maybe", "one of auto, on, off"),
    ("s3_ca", "/nowhere", f"{FILE_WORDS}: no such file or directory"),
    ("s3_encryption", "aes", "one of none, s3, kms"),
    ("s3_kms_key", " ", "text that is not empty"),
    ("s3_threads", "1", "a whole number from 2 to 256"),
    ("token_algorithm", "HS256", "one of ES256, EdDSA"),
    ("outside_issuer", " ", "text that is not empty"),
    ("outside_audience", 1, "text that is not empty"),
    ("outside_jwks", "http://id.test/keys", JWKS_WORDS),
    ("outside_jwks", "file:///keys", JWKS_WORDS),
    ("outside_jwks", "https://", JWKS_WORDS),
    ("outside_jwks", "https://[", JWKS_WORDS),
    ("outside_jwks", "https://id.test:port/", JWKS_WORDS),
    ("outside_jwks", "/nowhere/keys", f"{JWKS_WORDS}: no such file or directory"),
    ("password_scheme", "md5", "one of argon2, bcrypt"),
    ("password_time_cost", "21", "a whole number from 1 to 20"),
    ("password_memory_cost", "1023", "a whole number from 1024 to 4194304"),
    ("password_parallelism", "0", "a whole number from 1 to 64"),
    ("password_rounds", "3", "a whole number from 4 to 31"),
    ("upload_ttl", "1s", "a duration from 1m to 365d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("sweep_interval", "0", "a duration from 1s to 7d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("manifest_limit", "4MB", MANIFEST_WORDS),
    ("manifest_limit", "1KiB", MANIFEST_WORDS),
    ("manifest_limit", "1GiB", MANIFEST_WORDS),
    ("page_limit", "0", "a whole number from 1 to 10000"),
    ("scrub_rate", "-1", "a size from 0 to 64GiB, in bytes or such as 512KiB or 4MiB"),
    ("gc_interval", "0", "a duration from 1s to 1h, in seconds or such as 30s, 10m, 12h or 7d"),
    ("gc_grace", "366d", "a duration from 0 to 365d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("gc_quarantine", "-1", "a duration from 0 to 365d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("gc_untagged", "never", "a duration from 0 to 3650d, in seconds or such as 30s, 10m, 12h or 7d"),
    ("uploads_per_account", "0", "a whole number from 1 to 1000000"),
    ("head_timeout", "0", SECONDS_WORDS),
    ("transfer_timeout", "2h", SECONDS_WORDS),
    ("transfer_rate", "0", "a size from 1B to 1MiB, in bytes or such as 512KiB or 4MiB"),
    ("connections", "15", "a whole number from 16 to 1000000"),
    ("connections_per_address", "-1", "a whole number from 0 to 1000000"),
    ("shutdown_timeout", "2h", "a duration from 0 to 1h, in seconds or such as 30s, 10m, 12h or 7d"),
    ("log_format", "xml", "one of auto, console, json"),
    ("log_level", "INFO", "one of debug, info, warning, error"),
    ("metrics", "on", "one of loopback, open, off"),
    ("metrics_token", "with space", BEARER_WORDS),
    ("metrics_token", "short", BEARER_WORDS),
]


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_wrong_values(name: str, value: object, right: str) -> None:
    flag = flag_name(name)
    shown = MASK if is_secret(name) else {True: "true"}.get(value is True, repr(value))
    assert f"{name} = {shown} ({flag}) must be {right}" in problems(flags={name: value})
    if isinstance(value, str) and value:
        variable = environment_name(name)
        expected = f"{name} = {shown} ({variable} in the environment) must be {right}"
        assert expected in problems({variable: value})


def test_every_setting_has_a_wrong_value() -> None:
    assert {row[0] for row in WRONG} == set(NAMES)


def test_numbers_that_python_does_not_print(tmp_path: Path) -> None:
    [problem] = problems({"LONGSHORE_PORT": "9" * 5000})
    assert problem.endswith(f"… (LONGSHORE_PORT in the environment) must be {words('port')}")
    toml = written(tmp_path / "longshore.toml", "port = 0x" + "f" * 5000)
    [problem] = problems(toml=toml)
    assert problem.startswith("port = a number of too many digits (port in ")


def test_all_problems_at_once(tmp_path: Path) -> None:
    toml = written(tmp_path / "longshore.toml", "workers = 0\nbogus = 1\n")
    environ = {"LONGSHORE_PORT": "x", "LONGSHORE_AUTH": "off", "LONGSHORE_TLS_CERTIFICATE": str(toml)}
    with pytest.raises(InvalidSettings) as caught:
        given_by(environ, toml, {"host": "0.0.0.0"})
    assert str(caught.value).splitlines() == [
        "the settings are wrong:",
        f"  bogus in {toml} is not a setting",
        "  port = 'x' (LONGSHORE_PORT in the environment) must be a whole number from 0 to 65535",
        f"  workers = 0 (workers in {toml}) must be a whole number from 1 to 256",
        (
            "  auth = 'off' (LONGSHORE_AUTH in the environment), host = '0.0.0.0' (--host), "
            f"auth_off_anywhere = false (default): {RULES[0].words}"
        ),
        (
            f"  tls_certificate = '{toml}' (LONGSHORE_TLS_CERTIFICATE in the environment), "
            "tls_key = not set (default): set both tls_certificate and tls_key, or neither"
        ),
    ]


def test_all_or_none_of_the_outside_issuer() -> None:
    assert problems({"LONGSHORE_OUTSIDE_ISSUER": "https://id.test"}) == [
        (
            "outside_issuer = 'https://id.test' (LONGSHORE_OUTSIDE_ISSUER in the environment), "
            "outside_audience = not set (default), outside_jwks = not set (default): "
            "set all of outside_issuer, outside_audience and outside_jwks, or none"
        )
    ]


def test_key_of_kms_without_kms() -> None:
    [problem] = problems({"LONGSHORE_S3_KMS_KEY": "alias/blobs"})
    assert problem.endswith("set s3_encryption to kms where s3_kms_key is set")
    given_by({"LONGSHORE_S3_KMS_KEY": "alias/blobs", "LONGSHORE_S3_ENCRYPTION": "kms"})


def test_a_wrong_value_does_not_break_a_rule_on_top(tmp_path: Path) -> None:
    key = written(tmp_path / "key.pem", "")
    [problem] = problems(flags={"tls_key": key, "tls_certificate": "/nowhere"})
    assert problem.startswith("tls_certificate = '/nowhere'")
    [problem] = problems(flags={"auth": "off", "host": "0.0.0.0", "auth_off_anywhere": "maybe"})
    assert problem.startswith("auth_off_anywhere = 'maybe'")


def test_a_broken_file_does_not_break_a_rule_on_top(tmp_path: Path) -> None:
    key = written(tmp_path / "key.pem", "")
    [problem] = problems({"LONGSHORE_TLS_KEY": str(key)}, tmp_path / "absent.toml")
    assert "absent.toml cannot be read" in problem


def test_long_values_are_cut() -> None:
    [problem] = problems({"LONGSHORE_SPARSE": "x" * 1000})
    assert len(problem) < 250
    [problem] = problems({"LONGSHORE_TRUSTED_PROXIES": "x" * 1000})
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("variable", "end"),
    [
        ("LONGSHORE_PROT", "is not a setting; did you mean LONGSHORE_PORT?"),
        ("LONGSHORE_port", "is not a setting; did you mean LONGSHORE_PORT?"),
        ("LONGSHORE_TOKEN_LIFE", "is not a setting; did you mean LONGSHORE_TOKEN_LIFETIME?"),
        ("LONGSHORE_XYZZY", "is not a setting"),
        ("LONGSHORE_", "is not a setting"),
        ("LONGSHORE_ADMIN_PASSWORT", "is not a setting; did you mean LONGSHORE_ADMIN_PASSWORD?"),
    ],
)
def test_unknown_variables(variable: str, end: str) -> None:
    # The value stays out of it: it may be a secret under a name with a typo.
    assert problems({variable: "hunter2hunter2"}) == [f"{variable} in the environment {end}"]


@pytest.mark.parametrize(
    "variable", ["SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_5000_TCP_ADDR", "WEB_SERVICE_PORT"]
)
def test_variables_of_kubernetes(variable: str) -> None:
    [problem] = problems({f"LONGSHORE_{variable}": "10.0.0.1"})
    assert "enableServiceLinks: false" in problem


def test_unknown_variables_with_odd_names() -> None:
    assert problems({"LONGSHORE_A\n\udcff": ""}) == [
        r"LONGSHORE_A\n\udcff in the environment is not a setting"
    ]


def test_unknown_flags() -> None:
    assert problems(flags={"prot": 1}) == ["--prot is not a setting; did you mean --port?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trusted-proxies = []", "trusted-proxies in FILE is not a setting; did you mean trusted_proxies?"),
        ("PORT = 1", "PORT in FILE is not a setting; did you mean port?"),
        ("config = 'x'", "config in FILE is not a setting"),
        ("[server]\nport = 1", "server in FILE is a table; settings stand in the file without tables"),
        ("[port]\na = 1", "port = {'a': 1} (port in FILE) must be a whole number from 0 to 65535"),
        ('"a\\nb" = 1', r"a\nb in FILE is not a setting"),
        ("port = 1\nhost = local", "FILE is not valid TOML: Invalid value (at line 2, column 8)"),
        ("port = 1\nport = 2\n\n", "FILE is not valid TOML: Cannot overwrite a value (at line 2, column 9)"),
        (
            'port = 1\nhost = "',
            "FILE is not valid TOML: Unterminated string (at line 2, the end of the file)",
        ),
        (b"port = 1\n# \xff", "FILE is not valid TOML: line 2 is not UTF-8"),
        ("port = " + "[" * 100_000, "FILE is not valid TOML: it is nested too deeply"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = written(tmp_path / "longshore.toml", text)
    found = [re.sub("column [0-9]+", "column #", line) for line in problems(toml=path)]
    assert found == [re.sub("column [0-9]+", "column #", problem.replace("FILE", str(path)))]


def test_a_number_with_too_many_digits_in_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "longshore.toml", "port = " + "9" * 5000)
    [problem] = problems(toml=path)
    assert problem.startswith(f"{path} is not valid TOML: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(toml=tmp_path / "absent") == [
        f"{tmp_path}/absent cannot be read: no such file or directory"
    ]
    assert problems(toml=tmp_path) == [f"{tmp_path} cannot be read: is a directory"]
    assert problems({"LONGSHORE_CONFIG": "a\0b"}) == [r"a\x00b is not a path"]


# -- secrets ---------------------------------------------------------------------------------------------


def test_secrets_are_masked_everywhere() -> None:
    secret = "correct-horse-battery"
    environ = {
        "LONGSHORE_ADMIN_PASSWORD": secret,
        "LONGSHORE_METRICS_TOKEN": secret,
        "LONGSHORE_DATABASE": f"postgresql://longshore:{secret}@db.test/hub",
        "LONGSHORE_KEYS_SECRET": f"{secret}, and some more of it",
    }
    loaded = given_by(environ)
    assert loaded.settings.admin_password is not None
    assert loaded.settings.admin_password.get_secret_value() == secret
    printed = [
        repr(loaded),
        str(loaded.settings),
        loaded.settings.model_dump_json(),
        *map(repr, rows(loaded)),
    ]
    assert not any(secret in text for text in printed)
    masked = {row.name for row in rows(loaded) if row.value == MASK}
    secrets = {"admin_password", "metrics_token", "database", "keys_secret"}
    assert masked == secrets == {name for name in NAMES if is_secret(name)}


def test_wrong_secrets_are_masked_in_errors() -> None:
    environ = {"LONGSHORE_ADMIN_PASSWORD": "hunter2", "LONGSHORE_METRICS_TOKEN": "hunter2 "}
    assert problems(environ) == [
        f"admin_password = {MASK} (LONGSHORE_ADMIN_PASSWORD in the environment) must be {PASSWORD_WORDS}",
        f"metrics_token = {MASK} (LONGSHORE_METRICS_TOKEN in the environment) must be {BEARER_WORDS}",
    ]
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"admin_password": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_secrets_stay_out_of_errors_about_other_settings() -> None:
    flags = {"admin_password": "hunter2hunter2", "auth": "off", "host": "0.0.0.0"}
    assert "hunter2" not in "".join(problems(flags=flags))
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(flags)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["external_url", "outside_jwks", "trusted_proxies", "tls_key", "sparse"])
def test_passwords_in_urls_are_masked(name: str) -> None:
    told = "".join(problems({environment_name(name): "https://me:hunter2/x@hub.test/"}))
    assert f"https://{MASK}@hub.test" in told
    assert "hunter2" not in told


# -- the model itself ------------------------------------------------------------------------------------


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_settings_made_directly_are_checked() -> None:
    with pytest.raises(ValidationError, match="turn auth on"):
        Settings(auth="off", host="0.0.0.0")
    with pytest.raises(ValidationError, match="prot"):
        Settings.model_validate({"prot": 1})


# -- tables ----------------------------------------------------------------------------------------------


def test_rows_tell_every_setting() -> None:
    loaded = given_by(
        {"LONGSHORE_MANIFEST_LIMIT": "8388608", "LONGSHORE_TRUSTED_PROXIES": "10.0.0.0/8,::1"},
        flags={"auth_off_anywhere": True, "token_lifetime": 61},
    )
    told = {row.name: row for row in rows(loaded)}
    assert tuple(told) == NAMES
    assert told["port"] == ("port", "5000", "default")
    assert told["token_lifetime"] == ("token_lifetime", "61s", "--token-lifetime")
    assert told["auth_off_anywhere"].value == "true"
    assert told["manifest_limit"].value == "8MiB"
    assert told["trusted_proxies"].value == "10.0.0.0/8,::1/128"
    assert told["external_url"].value == "not set"


def test_rows_can_be_fed_back() -> None:
    environ = {
        environment_name(row.name): row.value
        for row in rows(given_by())
        if row.value not in ("not set", "empty")
    }
    assert given_by(environ).settings == Settings()


def test_every_description_is_one_plain_sentence() -> None:
    for row in table():
        assert re.fullmatch(r"[A-Z][^.]*\.", row.description), row.name


def test_the_table_is_the_same_on_every_machine() -> None:
    computed = {name for name, info in Settings.model_fields.items() if info.default_factory is not None}
    assert computed == set(COMPUTED_DEFAULTS)
    assert {row.name: row.default for row in table()}["workers"] == "the number of cores, at most 4"


def test_the_markdown_table_has_a_line_for_every_setting() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == 2 + len(NAMES)
    assert {line.count("|") for line in lines} == {6}
    assert lines[3] == (
        "| `port` | `LONGSHORE_PORT` | a whole number from 0 to 65535 | 5000 "
        "| Port to listen on, where 0 takes any free one. |"
    )


# -- properties ------------------------------------------------------------------------------------------

VALUES = (
    st.text()
    | st.from_regex(r"[0-9]{1,20}[a-zA-Z]{0,3}")
    | st.from_regex(r"https?://.{0,20}")
    | st.ip_addresses().map(str)
)


PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@PATIENT
@given(st.dictionaries(st.sampled_from(NAMES).map(environment_name), VALUES))
@example({"LONGSHORE_TLS_KEY": "x" * 5000})
@example({"LONGSHORE_OUTSIDE_JWKS": "https://\u2100"})
def test_no_environment_raises_anything_else(environ: dict[str, str]) -> None:
    try:
        loaded = given_by(environ)
    except InvalidSettings as error:
        assert error.problems
        assert all(text.isprintable() for text in error.problems)
    else:
        assert all(row.value for row in rows(loaded))


@PATIENT
@given(st.dictionaries(st.text().map("LONGSHORE_".__add__), st.text()))
def test_no_names_in_the_environment_raise_anything_else(environ: dict[str, str]) -> None:
    environ.pop("LONGSHORE_CONFIG", None)
    try:
        given_by(environ)
    except InvalidSettings as error:
        assert all(text.isprintable() for text in error.problems)


@PATIENT
@given(st.binary() | st.text("portdaa=[]{}\"'\n #.1").map(str.encode))
def test_no_file_raises_anything_else(tmp_path: Path, content: bytes) -> None:
    try:
        given_by(toml=written(tmp_path / "longshore.toml", content))
    except InvalidSettings as error:
        assert all(text.isprintable() for text in error.problems)


@PATIENT
@given(st.integers(0, 10**15), st.sampled_from([SIZE_UNITS, DURATION_UNITS]))
def test_quantities_are_read_as_they_are_written(number: int, units: dict[str, int]) -> None:
    assert parse_quantity(show_quantity(number, units), units, 0, 10**15) == number
    assert parse_quantity(number, units, 0, 10**15) == number
