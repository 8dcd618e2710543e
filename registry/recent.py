"""What was worked out lately and does not change: kept while it is asked for and there is room."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were used last; their weights add up to `room` at most. Threads may share it."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return what is kept under the key."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def keep(self, key: K, value: V, weight: int = 1) -> None:
        """Keep a value in place of those not used for longest; one that there is no room for is not kept."""
        with self._lock:
            if key in self._kept:
                self._taken -= self._kept.pop(key)[1]
            if weight > self._room:
                return
            self._kept[key] = (value, weight)
            self._taken += weight
            while self._taken > self._room:
                _, (_, lost) = self._kept.popitem(last=False)
                self._taken -= lost
