"""Where settings come from: layers on top of each other, and every problem told at once.

The layers, weakest first, are the defaults, a flat TOML file, the environment (`LONGSHORE_<NAME>`) and the
command line. Only the value of the strongest layer counts and is checked.

Nothing here reads the process environment; the command line hands it over.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from registry.config import (
    MASK,
    NOT_SET,
    PREFIX,
    Loaded,
    Rule,
    RulesBroken,
    Settings,
    default_of,
    environment_name,
    flag_name,
    is_secret,
    words,
)
from registry.setting_kinds import Unfit, reason_of

_USER_INFO = re.compile(r"//.*@")
_SERVICE_LINK = re.compile(PREFIX + r"(.*_)?(SERVICE_(HOST|PORT)|PORT_[0-9]+_(TCP|UDP|SCTP)).*")


class InvalidSettings(Exception):
    """Settings that cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(("the settings are wrong:", *(f"  {text}" for text in self.problems))))


def load(*, environ: Mapping[str, str], config_file: Path | None, flags: Mapping[str, object]) -> Loaded:
    """Put the layers on top of each other and check the result.

    `config_file` comes from `--config`; without it `LONGSHORE_CONFIG` in `environ` counts. `flags` go by the
    names of the fields; None and an empty tuple mean that a flag was not given.

    Raises `InvalidSettings` with every problem of every layer.
    """
    layers = _Layers()
    named = environ.get(environment_name("config"))
    if config_file is None and named:
        config_file = Path(named)
    if config_file is not None:
        layers.add_file(config_file)
    layers.add_environment(environ)
    layers.add_flags(flags)
    return layers.check()


@dataclass
class _Layers:
    """The strongest value so far for each name, and what was wrong on the way."""

    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=lambda: dict.fromkeys(Settings.model_fields, "default"))
    problems: list[str] = field(default_factory=list)
    # Without the file nobody can say what else was set, so rules about what is missing stay silent.
    file_failed: bool = False

    def add(self, name: str, value: object, source: str) -> None:
        self.values[name] = value
        self.sources[name] = source

    def add_file(self, path: Path) -> None:
        try:
            document = _read_toml(path)
        except Unfit as error:
            self.problems.append(f"{_printable(str(path))} {error}")
            self.file_failed = True
            return
        for key, value in document.items():
            source = f"{_printable(key)} in {_printable(str(path))}"
            if key in Settings.model_fields:
                self.add(key, value, source)
            elif isinstance(value, dict):
                self.problems.append(f"{source} is a table; settings stand in the file without tables")
            else:
                self.problems.append(f"{source} is not a setting{_suggest(key, str)}")

    def add_environment(self, environ: Mapping[str, str]) -> None:
        for variable, value in environ.items():
            name = variable.removeprefix(PREFIX).lower()
            source = f"{_printable(variable)} in the environment"
            if not variable.startswith(PREFIX) or variable == environment_name("config"):
                continue
            if name in Settings.model_fields and variable == environment_name(name):
                self.add(name, value, source)
            elif _SERVICE_LINK.fullmatch(variable):
                self.problems.append(
                    f"{source} is not a setting; Kubernetes adds it for a Service of that name, "
                    "set enableServiceLinks: false for the pod"
                )
            else:
                self.problems.append(f"{source} is not a setting{_suggest(name, environment_name)}")

    def add_flags(self, flags: Mapping[str, object]) -> None:
        for name, value in flags.items():
            if value is None or value == ():
                continue
            if name in Settings.model_fields:
                self.add(name, value, flag_name(name))
            else:
                self.problems.append(
                    f"{_printable(flag_name(name))} is not a setting{_suggest(name, flag_name)}"
                )

    def check(self) -> Loaded:
        settings, details, rules = _validate(self.values)
        for name, detail in details.items():
            self.problems.append(f"{self._told(name)} must be {words(name)}{detail}")
        if details:
            # Rules are checked only once every field is sound: so again, without the fields that are not.
            _, _, rules = _validate(
                {name: value for name, value in self.values.items() if name not in details}
            )
        for rule in rules:
            if not self._in_doubt(rule, details):
                self.problems.append(f"{', '.join(map(self._told, rule.names))}: {rule.words}")
        if settings is None or self.problems:
            raise InvalidSettings(self.problems)
        return Loaded(settings, self.sources)

    def _in_doubt(self, rule: Rule, wrong: Iterable[str]) -> bool:
        missing = any(name not in self.values for name in rule.names)
        return not set(rule.names).isdisjoint(wrong) or (self.file_failed and missing)

    def _told(self, name: str) -> str:
        value = self.values.get(name, default_of(name))
        return f"{name} = {_quote(name, value)} ({self.sources[name]})"


def _validate(values: Mapping[str, object]) -> tuple[Settings | None, dict[str, str], tuple[Rule, ...]]:
    """Return the settings, or the fields that are wrong with a detail each, or the rules that are broken."""
    details: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    try:
        return Settings.model_validate(values), details, rules
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            cause = item.get("ctx", {}).get("error")
            if isinstance(cause, RulesBroken):
                rules = cause.rules
            else:
                told = str(cause) if isinstance(cause, Unfit) else ""
                details[str(item["loc"][0])] = f": {_tame(told)}" if told else ""
    return None, details, rules


def _read_toml(path: Path) -> dict[str, object]:
    """Return the document in the file; raises `Unfit` whose message goes on after the path."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unfit(f"cannot be read: {reason_of(error)}") from None
    except ValueError:
        raise Unfit("is not a path") from None
    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unfit(f"is not valid TOML: line {line} is not UTF-8") from None
    except RecursionError:
        raise Unfit("is not valid TOML: it is nested too deeply") from None
    except ValueError as error:
        last = f"at line {len(text.splitlines())}, the end of the file"
        reason = str(error).replace("at end of document", last)
        raise Unfit(f"is not valid TOML: {_printable(reason)}") from None


def _suggest(name: str, spell: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
    return f"; did you mean {spell(near[0])}?" if near else ""


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _quote(name: str, value: object) -> str:
    """Write a value as it was given, for an error message."""
    if value is None:
        return NOT_SET
    if is_secret(name):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return _tame(repr(str(value) if isinstance(value, Path) else value))
    except ValueError:
        # TOML has hexadecimal numbers of any length; Python does not print what is longer than 4300 digits.
        return "a number of too many digits"


def _tame(text: str) -> str:
    """Cut to what fits on a line, without the password that a URL may carry."""
    text = _USER_INFO.sub(f"//{MASK}@", text)
    return text if len(text) <= 100 else f"{text[:99]}…"
