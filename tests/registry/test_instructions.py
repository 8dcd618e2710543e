"""Entries of real histories, as each builder writes them, and the lines that they came from."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.image import MAX_TEXT
from registry.instructions import instruction

CLASSIC = [
    ('/bin/sh -c #(nop)  CMD ["python3"]', 'CMD ["python3"]'),
    ("/bin/sh -c #(nop) ADD file:5d68d27cc15a80653c in / ", "ADD file:5d68d27cc15a80653c in /"),
    ("/bin/sh -c #(nop)  ENV LANG=C.UTF-8", "ENV LANG=C.UTF-8"),
    ("/bin/sh -c #(nop)  EXPOSE 80", "EXPOSE 80"),
    ('/bin/sh -c #(nop)  ENTRYPOINT ["/docker-entrypoint.sh"]', 'ENTRYPOINT ["/docker-entrypoint.sh"]'),
    ('/bin/sh -c #(nop)  CMD ["nginx" "-g" "daemon off;"]', 'CMD ["nginx", "-g", "daemon off;"]'),
    ("/bin/sh -c #(nop)  VOLUME [/var/lib/data]", "VOLUME /var/lib/data"),
    ('/bin/sh -c #(nop)  CMD ["/bin/sh" "-c" "echo \\"a\\""]', 'CMD ["/bin/sh" "-c" "echo \\"a\\""]'),
    ("/bin/sh -c apt-get update && apt-get install -y curl", "RUN apt-get update && apt-get install -y curl"),
    ("/bin/sh -c set -eux;  \tmake;\n\tmake install", "RUN set -eux;  \tmake;\n\tmake install"),
    ("|2 A=1 B=2 /bin/sh -c make all", "RUN make all"),
    ("|1 A=two words /bin/bash -o pipefail -c make all", "RUN make all"),
    ("|0 /bin/sh -c true", "RUN true"),
    ("/bin/bash -c set -e; make", "RUN set -e; make"),
    ("/bin/bash -o pipefail -c curl x | sh", "RUN curl x | sh"),
    ("/bin/ash -eo pipefail -c curl x", "RUN curl x"),
    ("/busybox/sh -c ls", "RUN ls"),
    ("/opt/own-shell run this", "RUN /opt/own-shell run this"),
]
BUILDKIT = [
    ("RUN /bin/sh -c pip install flask # buildkit", "RUN pip install flask"),
    ("RUN |1 A=1 /bin/sh -c make all # buildkit", "RUN make all"),
    ("RUN |2 A=/usr/bin B= /bin/sh -c make all # buildkit", "RUN make all"),
    ("RUN /bin/bash -euxo pipefail -c make # buildkit", "RUN make"),
    ("RUN make all # buildkit", "RUN make all"),
    ("RUN |1 A=1 own-shell make # buildkit", "RUN |1 A=1 own-shell make"),
    ("COPY app.py /app/ # buildkit", "COPY app.py /app/"),
    ("COPY --from=build /out /usr/bin # buildkit", "COPY --from=build /out /usr/bin"),
    ("WORKDIR /app", "WORKDIR /app"),
    ("EXPOSE map[443/tcp:{} 80/tcp:{}]", "EXPOSE 443/tcp 80/tcp"),
    ("EXPOSE [8080/tcp]", "EXPOSE 8080/tcp"),
    ("VOLUME [/data /logs]", "VOLUME /data /logs"),
    ('CMD ["python" "app.py"]', 'CMD ["python", "app.py"]'),
    (
        'HEALTHCHECK &{["CMD-SHELL" "curl -f http://a/ || exit 1"] "30s" "5s" "0s" "0s" \'\\x03\'}',
        "HEALTHCHECK --interval=30s --timeout=5s CMD curl -f http://a/ || exit 1",
    ),
    ('HEALTHCHECK &{["CMD-SHELL" "true"] "0s" "0s" "0s" "0s" \'\\x00\'}', "HEALTHCHECK CMD true"),
    ("ARG TARGETARCH", "ARG TARGETARCH"),
    ("ENV A=1", "ENV A=1"),
]
OTHERS = [
    # kaniko
    ("RUN apt-get update", "RUN apt-get update"),
    ("COPY . /src", "COPY . /src"),
    ('CMD ["node", "a.js"]', 'CMD ["node", "a.js"]'),
    # buildah
    ("/bin/sh -c #(nop) COPY dir:7f2 in /srv ", "COPY dir:7f2 in /srv"),
    ('/bin/sh -c #(nop) SHELL ["/bin/bash", "-c"]', 'SHELL ["/bin/bash", "-c"]'),
    # Windows
    ("cmd /S /C #(nop) WORKDIR C:\\app", "WORKDIR C:\\app"),
    ("cmd /S /C dir", "RUN dir"),
    ("powershell -Command $ErrorActionPreference = 'Stop'; dir", "RUN $ErrorActionPreference = 'Stop'; dir"),
    ("RUN cmd /S /C dir # buildkit", "RUN dir"),
    # without a Dockerfile
    ("apko", "apko"),
    ("jib-maven-plugin:3.4.0", "jib-maven-plugin:3.4.0"),
    ("ko build ko://example.com/app", "ko build ko://example.com/app"),
    ("bazel build ...", "bazel build ..."),
    ("Buildpacks Launcher", "Buildpacks Launcher"),
    ("", ""),
    ("  ", ""),
    ("# buildkit", ""),
]


@pytest.mark.parametrize(("created_by", "line"), CLASSIC + BUILDKIT + OTHERS)
def test_instruction(created_by: str, line: str) -> None:
    assert instruction(created_by) == line


@given(
    st.lists(
        st.sampled_from(
            ["RUN ", "|1 ", "/bin/sh -c ", "#(nop) ", "# buildkit", "CMD [", '"', "]", " ", "map[", "&{["]
        )
    )
)
def test_nothing_makes_it_fail(parts: list[str]) -> None:
    instruction("".join(parts))


@pytest.mark.parametrize(
    "part",
    ["/a", "/sh -", " /sh", " -c", " -a pipefail", "|1 ", '" "', ":{}", " ", "sh -", '"] "', "powershell -"],
)
@pytest.mark.parametrize(
    "start", ["", "|1 ", "/bin/sh", 'HEALTHCHECK &{["CMD-SHELL" "', "EXPOSE map[", "powershell"]
)
def test_no_text_takes_long(start: str, part: str) -> None:
    text = start + part * (MAX_TEXT // len(part))
    began = time.process_time()
    instruction(text)
    assert time.process_time() - began < 0.1
