r"""The lines of a Dockerfile that the history of an image came from.

Builders write into `created_by`:

    classic, buildah   /bin/sh -c #(nop)  CMD ["x"]     /bin/sh -c make     |1 A=1 /bin/sh -c make
    BuildKit           RUN /bin/sh -c make # buildkit   RUN |1 A=1 /bin/sh -c make # buildkit
                       COPY a /b # buildkit             EXPOSE map[80/tcp:{}]
    kaniko             the line as it stands in the Dockerfile
    for Windows        cmd /S /C make                   powershell -Command make

Those that read no Dockerfile, such as Jib, ko and apko, write what they like: that stays as it is.
"""

import re
from typing import Final

_NOP: Final = "#(nop)"
_BUILDKIT: Final = "# buildkit"

_KEYWORD: Final = re.compile(
    r"(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL"
    r"|USER|VOLUME|WORKDIR)\b"
)
_SHELL: Final = re.compile(
    r"(?:(?:/[\w.-]+)*/(?:ba|da|a|z|k)?sh(?: -[a-z]+(?: pipefail)?)*? -[a-z]*c"
    r"|cmd(?:\.exe)? /S /C|(?:powershell|pwsh)(?:\.exe)?(?: -\w+)*? -Command)\s+(.*)",
    re.DOTALL,
)
# The arguments of the build, and where the shell stands behind them.
_ARGUMENTS: Final = re.compile(r"\|[0-9]+ ")
_BEHIND_ARGUMENTS: Final = re.compile(r"\s(?=/\S*sh -|cmd /S|powershell -|pwsh -)")

# What BuildKit writes as Go prints its values.
_PORTS: Final = re.compile(r"EXPOSE (?:map)?\[([^\]]*)\]")
_VOLUMES: Final = re.compile(r"VOLUME \[([^\"\]]*)\]")
_WORDS: Final = re.compile(r"(?:CMD|ENTRYPOINT|SHELL) \[\".*\"\]", re.DOTALL)
_HEALTH_CHECK: Final = re.compile(r'HEALTHCHECK &\{\["CMD-SHELL" "(.*)"\] "([^"]*)" "([^"]*)".*\}', re.DOTALL)


def instruction(created_by: str) -> str:
    """Return the line of a Dockerfile that an entry of a history stands for."""
    text = created_by.strip().removesuffix(_BUILDKIT).rstrip()
    command = text.removeprefix("RUN ").lstrip()
    if _ARGUMENTS.match(command):
        behind = _BEHIND_ARGUMENTS.search(command)
        command = command[behind.end() :] if behind else command
    shell = _SHELL.fullmatch(command)
    if shell is None:
        return _tidy(text)
    said = shell[1].strip()
    return _tidy(said.removeprefix(_NOP).lstrip()) if said.startswith(_NOP) else f"RUN {said}"


def _tidy(line: str) -> str:
    """Return the line as a person would have written it."""
    if not _KEYWORD.match(line):
        return f"RUN {line}" if line.startswith(("/", "|")) else line
    if ports := _PORTS.fullmatch(line):
        return f"EXPOSE {ports[1].replace(':{}', '')}"
    if volumes := _VOLUMES.fullmatch(line):
        return f"VOLUME {volumes[1]}"
    if _WORDS.fullmatch(line) and "\\" not in line:
        return line.replace('" "', '", "')
    if check := _HEALTH_CHECK.fullmatch(line):
        command, interval, timeout = check[1].replace('\\"', '"'), check[2], check[3]
        said = [("interval", interval), ("timeout", timeout)]
        options = [f"--{name}={value}" for name, value in said if value not in ("", "0s")]
        return " ".join(["HEALTHCHECK", *options, "CMD", command])
    return line
