"""The memory that uploads to S3 take.

Parts lie in mappings of their own, which are used again: taken from the heap they left holes in it, some ten
megabytes for four uploads (smaller pieces of it came and went with them), and to map fresh memory costs five
times what it costs to fill it. What is not used goes back to the system with the last upload.
"""

import asyncio
from mmap import mmap


class Budget:
    """Bytes in memory for the uploads of a process: parts that are collected, and parts on their way.

    What comes from clients is always collected, up to a part for each upload; so the more uploads there are,
    the fewer parts are on their way, though never fewer bytes than `least`, and one part in any case.
    """

    def __init__(self, size: int, least: int = 0) -> None:
        self._size = size
        self._least = least
        self._collected = 0
        self._sent = 0
        self._freed = asyncio.Condition()
        self._spare: list[memoryview] = []

    def collect(self, size: int) -> None:
        """Keep room for a part that an upload is going to collect; with a minus, no more."""
        self._collected += size
        self._tidy()

    async def send(self, size: int) -> None:
        """Wait until so many bytes may be on their way."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._has_room(size))
            self._sent += size

    async def settle(self, size: int) -> None:
        """Make room again: so many bytes have arrived, or will not."""
        async with self._freed:
            self._sent -= size
            self._tidy()
            self._freed.notify_all()

    def take(self, size: int) -> memoryview:
        """Return memory for a part, with anything in it."""
        for memory in self._spare:
            if len(memory) == size:
                self._spare.remove(memory)
                return memory
        self._spare.clear()  # parts have grown
        return memoryview(mmap(-1, size))

    def give_back(self, memory: memoryview) -> None:
        """Keep memory for the next part."""
        if memory:
            self._spare.append(memory)

    def _tidy(self) -> None:
        if not self._collected and not self._sent:
            self._spare.clear()

    def _has_room(self, size: int) -> bool:
        room = max(self._size - self._collected, self._least)
        return self._sent == 0 or self._sent + size <= room
