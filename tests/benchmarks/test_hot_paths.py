"""Samples of py-spy are told in shares."""

from benchmarks.hot_paths import told


def test_shares_of_threads_of_places_and_of_what_they_are_part_of() -> None:
    raw = "\n".join(
        [
            "thread (1): MainThread;<module> (a.py:1);serve (a.py:2);send (a.py:3) 60",
            "thread (1): MainThread;<module> (a.py:1);serve (a.py:2);hash (a.py:4) 20",
            "thread (2): files_0;work (b.py:1);write (b.py:2) 15",
            "thread (3): files_1;work (b.py:1);write (b.py:2) 5",
            "thread (3): files_1;work (b.py:1);_worker (concurrent/futures/thread.py:81) 900",
            "thread (4): idle 900",
        ]
    )
    of = ["80.0%  serve (a.py:2)", "60.0%  send (a.py:3)", "20.0%  hash (a.py:4)"]
    of += ["20.0%  work (b.py:1)", "20.0%  write (b.py:2)"]
    assert told("pull", raw).split("\n\n") == [
        "pull: 100 samples, 200 a second of each thread",
        "threads\n 80.0%  MainThread\n 20.0%  files",
        "where it was\n 60.0%  send (a.py:3)\n 20.0%  hash (a.py:4)\n 20.0%  write (b.py:2)",
        "\n ".join(["what that was part of", *of]) + "\n",
    ]
