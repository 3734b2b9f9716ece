"""The requests that a batcher has accepted: waiting to be decoded, or decoded and ready to run."""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field

from mobilevit_fast.serve.errors import ClosedError, QueueFullError
from mobilevit_fast.serve.policy import BatchPolicy
from mobilevit_fast.serve.request import Request, Stage


@dataclass
class Work:
    """What the engine's thread is to do next.

    Attributes:
        batch: requests to run, of one shape, already in Stage.RUNNING.
        expired: requests whose deadline has passed, already in Stage.DONE.
    """

    batch: list[Request] = field(default_factory=list)
    expired: list[Request] = field(default_factory=list)


class RequestQueue:
    """Bounded, by priority, for any number of threads. Futures are settled by the callers, never in here.

    Args:
        capacity: most requests that are accepted and not done.
        ahead: most images that are decoded, or being decoded, before the engine takes them.
    """

    def __init__(self, capacity: int, ahead: int) -> None:
        self._capacity = capacity
        self._ahead = ahead
        self._lock = threading.Lock()
        self._decodable = threading.Condition(self._lock)
        self._runnable = threading.Condition(self._lock)
        self._roomy = threading.Condition(self._lock)
        self._waiting: list[Request] = []
        self._ready: list[Request] = []
        self._deadlines: list[tuple[float, int, Request]] = []
        self._decoding = 0
        self._pending = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """Requests that are accepted and not done."""
        return self._pending

    def put(self, request: Request, *, block: bool) -> None:
        """Accepts a request; with `block` waits for room.

        Raises:
            QueueFullError: no room, and `block` is false.
            ClosedError: the queue takes no more.
        """
        with self._lock:
            while self._pending >= self._capacity and not self._closed:
                if not block:
                    raise QueueFullError(
                        f"{self._pending} requests wait already, which is as many as the queue holds"
                    )
                self._roomy.wait()
            if self._closed:
                raise ClosedError("the batcher is closed and takes no more images")
            self._pending += 1
            if request.deadline != float("inf"):
                self._note_deadline(request)
            if request.stage is Stage.READY:
                heapq.heappush(self._ready, request)
                self._runnable.notify()
            else:
                heapq.heappush(self._waiting, request)
                self._decodable.notify()

    def take_waiting(self) -> Request | None:
        """The next image to decode, in Stage.DECODING; waits for one. None once closed and empty."""
        with self._lock:
            while not self._waiting or len(self._ready) + self._decoding >= self._ahead:
                if self._closed and not self._waiting:
                    return None
                self._decodable.wait()
            request = heapq.heappop(self._waiting)
            request.stage = Stage.DECODING
            self._decoding += 1
            return request

    def put_ready(self, request: Request) -> None:
        """Takes a request back after decoding."""
        with self._lock:
            self._decoding -= 1
            request.stage = Stage.READY
            heapq.heappush(self._ready, request)
            self._runnable.notify()

    def drop_decoding(self, request: Request) -> None:
        """Ends a request whose image could not be decoded, or that was cancelled meanwhile."""
        with self._lock:
            self._decoding -= 1
            self._decodable.notify()
            self._end(request)

    def take_work(self, policy: BatchPolicy) -> Work | None:
        """What to do next; waits for it. None once closed and all is done."""
        with self._lock:
            while True:
                now = time.perf_counter()
                expired = self._take_expired(now)
                if expired:
                    return Work(expired=expired)
                if self._closed and self._pending == 0:
                    return None
                patience = self._patience(policy, now)
                if self._ready and patience <= 0:
                    return Work(batch=self._take_batch(policy, now))
                if self._deadlines:
                    patience = min(patience, self._deadlines[0][0] - now)
                self._runnable.wait(None if patience == float("inf") else max(patience, 0.0))

    def discard(self, request: Request) -> bool:
        """Ends a cancelled request; False where a thread has it, which then ends it."""
        with self._lock:
            if request.stage is Stage.WAITING:
                _remove(self._waiting, request)
            elif request.stage is Stage.READY:
                _remove(self._ready, request)
                self._decodable.notify()
            else:
                return False
            self._end(request)
            return True

    def finish(self, requests: list[Request]) -> None:
        """Ends requests that ran."""
        with self._lock:
            for request in requests:
                self._end(request)

    def close(self) -> None:
        """Takes no more requests; those accepted go on."""
        with self._lock:
            self._closed = True
            for condition in (self._decodable, self._runnable, self._roomy):
                condition.notify_all()

    def drain(self) -> list[Request]:
        """Ends and returns all requests that no thread has."""
        with self._lock:
            requests = [*self._waiting, *self._ready]
            self._waiting.clear()
            self._ready.clear()
            for request in requests:
                self._end(request)
            self._decodable.notify_all()
            return requests

    def _note_deadline(self, request: Request) -> None:
        if len(self._deadlines) > 2 * self._capacity:
            # Those that were done in time would otherwise stay until their deadline.
            self._deadlines = [entry for entry in self._deadlines if entry[2].stage is not Stage.DONE]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (request.deadline, request.rank[1], request))
        self._runnable.notify()

    def _patience(self, policy: BatchPolicy, now: float) -> float:
        """Seconds to wait for more images before the next batch; infinity where there is none to run."""
        if not self._ready:
            return float("inf")
        count = len(self._ready)
        # While a batch runs others come of themselves; what is to be waited for is on its way already.
        if self._closed or count >= min(policy.size(), self._pending):
            return 0.0
        return min(request.decoded for request in self._ready) + policy.delay(count) - now

    def _take_batch(self, policy: BatchPolicy, now: float) -> list[Request]:
        """The first ready requests of one shape, as many as the policy and their deadlines allow."""
        shape, batch, others = None, [], []
        most = policy.size()
        while self._ready and len(batch) < most:
            request = heapq.heappop(self._ready)
            pixels = request.pixels
            shape = shape or (pixels.shape if pixels is not None else None)
            fits = pixels is not None and pixels.shape == shape
            (batch if fits else others).append(request)
        fitting = policy.fitting([request.deadline for request in batch], now)
        for request in (*others, *batch[fitting:]):
            heapq.heappush(self._ready, request)
        for request in batch[:fitting]:
            request.stage = Stage.RUNNING
        self._decodable.notify_all()
        return batch[:fitting]

    def _take_expired(self, now: float) -> list[Request]:
        expired = []
        while self._deadlines and (
            self._deadlines[0][0] <= now or self._deadlines[0][2].stage in (Stage.DONE, Stage.RUNNING)
        ):
            _, _, request = heapq.heappop(self._deadlines)
            if request.stage is Stage.WAITING:
                _remove(self._waiting, request)
            elif request.stage is Stage.READY:
                _remove(self._ready, request)
                self._decodable.notify()
            elif request.stage is Stage.DECODING:
                # Its thread hands it back within one image's time, and it expires then.
                heapq.heappush(self._deadlines, (now + 1e-3, request.rank[1], request))
                break
            else:
                continue
            self._end(request)
            expired.append(request)
        return expired

    def _end(self, request: Request) -> None:
        request.stage = Stage.DONE
        self._pending -= 1
        self._roomy.notify()
        if self._closed:
            self._decodable.notify_all()
            self._runnable.notify_all()


def _remove(heap: list[Request], request: Request) -> None:
    heap.remove(request)
    heapq.heapify(heap)
