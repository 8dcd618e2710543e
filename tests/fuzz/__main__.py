"""`python -m tests.fuzz`: atheris looks for inputs that a parser answers with anything but what it documents.

Each parser is fuzzed in a process of its own, as libFuzzer ends the one that it runs in. The number of inputs
is bounded and not the time, and they follow from the seed: a run that finds something finds it again.
"""

import argparse
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, Final

SEED: Final = "20260301"
MAX_LENGTH: Final = 1024

# What is watched while it runs: the product's code, and nothing that it leans on.
_OURS: Final = ("auth", "registry", "storage")

_NO_WHEEL: Final = 2


def main() -> int:
    """Fuzz the parsers of the table, all of them unless some are named. Return 0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="those of the table, or `exposed`")
    parser.add_argument("--table", default="tests.fuzz.parsers", help="the module of the table")
    parser.add_argument("--runs", type=int, default=10_000, help="inputs for each parser")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzz: atheris has no wheel for this machine: it has them for Linux on x86-64\n")
        return _NO_WHEEL
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=[*_OURS, options.table], enable_loader_override=False):
        table = importlib.import_module(options.table)
    names = table.EXPOSED if options.names == ["exposed"] else options.names or list(table.PARSERS)
    broken = [name for name in names if not _passes(atheris, name, table.PARSERS[name], options.runs)]
    say(f"{len(names)} parsers; broken: {', '.join(broken) or 'none'}")
    return int(bool(broken))


def _passes(atheris: ModuleType, name: str, parser: Any, runs: int) -> bool:
    """Fuzz one parser in a child process, and say what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        pid = os.fork()
        if pid == 0:
            _fuzz(atheris, parser, runs // 10 if parser.slow else runs, Path(folder), output)
        _, status = os.waitpid(pid, 0)
        said = output.read_text(errors="replace")
    done = re.search(r"^Done \d+ runs", said, re.MULTILINE)
    say(f"{name}: {done[0] if done and status == 0 else said[-4000:]}")
    return status == 0 and done is not None


def _fuzz(atheris: ModuleType, parser: Any, runs: int, folder: Path, output: Path) -> None:
    """Fuzz a parser in this process, which that ends; what is said goes to a file."""
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(parser.seeds):
        (corpus / str(number)).write_bytes(seed)
    words.write_text("".join(f'"\\x{ord(each):02x}"\n' for each in sorted(set(parser.alphabet))))
    with output.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    bounds = [f"-runs={runs}", f"-max_len={MAX_LENGTH}", f"-seed={SEED}", "-timeout=60"]
    places = [f"-artifact_prefix={folder}/", *([f"-dict={words}"] if parser.alphabet else []), str(corpus)]

    def feed(data: bytes) -> None:
        parser.try_on(data)

    try:
        atheris.Setup([sys.argv[0], *bounds, *places], feed)
        atheris.Fuzz()
    finally:
        os._exit(1)  # it has ended the process itself if all was well


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"fuzz: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
