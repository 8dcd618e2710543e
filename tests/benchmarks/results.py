"""Results that nobody measured."""

from benchmarks.results import Measured, Row, Suite


class Looked:
    """What a watch would have seen."""

    def __init__(self, seconds: float, mebibytes: int) -> None:
        self.seconds = seconds
        self.peak = mebibytes * 1024 * 1024
        self.after = self.peak // 2


def side_by_side() -> Suite:
    """Three rounds of two workloads on three servers."""
    suite = Suite("plain", "Side by side", "2 cores", ["longshore", "slow", "quick"], 3)
    rate = Row("manifest by tag", "requests/s", "request")
    delay = Row("p99 <beside> a push", "ms", lower=True)
    for number in range(3):
        for name, value in (("longshore", 2000.0), ("slow", 500.0), ("quick", 1000.0)):
            suite.note(rate, name, Measured(value + 100 * number, 4000), Looked(0.4, 100))
            suite.note(delay, name, Measured(4000 / value))
    return suite
