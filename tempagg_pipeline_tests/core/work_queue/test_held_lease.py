"""A worker's hold on its items: what it takes over, keeps alive, settles and gives back."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from tempagg_pipeline.core.redis_connection import connect
from tempagg_pipeline.core.work_queue import QueueUnavailableError
from tempagg_pipeline.core.work_queue.held_lease import HeldLease, held_lease
from tempagg_pipeline_tests.core.work_queue.conftest import HOUR, SETTINGS, TimedQueue
from tempagg_pipeline_tests.servers.processes import wait_until
from tempagg_pipeline_tests.servers.redis import RedisServer

ITEMS = ["a.csv", "b.csv", "c.csv"]


def claimed(queue: TimedQueue, names: Sequence[str] = ITEMS) -> str:
    """Push and lease items; returns the token."""
    queue.enqueue(names)
    lease = queue.claim(len(names), owner="sensor")
    assert lease is not None
    return lease.token


def held(
    queue: TimedQueue, token: str, names: Sequence[str] = ITEMS, seconds: float = HOUR
) -> AbstractContextManager[HeldLease]:
    return held_lease(queue, token, names, owner="run", lease_seconds=seconds)


def test_items_are_taken_in_the_order_asked_for(queue: TimedQueue):
    token = claimed(queue)

    with held(queue, token, ["c.csv", "a.csv", "b.csv"]) as lease:
        assert lease.taken == ["c.csv", "a.csv", "b.csv"]


def test_taking_over_renews_the_lease(queue: TimedQueue):
    token = claimed(queue)
    queue.pass_hours(0.9)

    with held(queue, token):
        queue.pass_hours(0.9)
        assert queue.reclaim_expired() == 0


def test_items_given_to_another_are_not_taken(queue: TimedQueue):
    token = claimed(queue)
    queue.release(token, ["b.csv"])
    queue.claim(1, owner="another")

    with held(queue, token) as lease:
        assert lease.taken == ["a.csv", "c.csv"]


def test_an_expired_lease_that_nobody_took_back_is_still_good(queue: TimedQueue):
    token = claimed(queue)
    queue.pass_hours(2)

    with held(queue, token) as lease:
        assert lease.taken == ITEMS


def test_an_item_that_is_begun_counts_an_attempt(queue: TimedQueue):
    with held(queue, claimed(queue)) as lease:
        assert lease.begin("a.csv")
        assert queue.stats().started == 1


def test_an_item_lost_meanwhile_can_not_be_begun(queue: TimedQueue):
    token = claimed(queue)
    with held(queue, token) as lease:
        queue.release(token, ["a.csv"])

        assert not lease.begin("a.csv")
        assert lease.begin("b.csv")


def test_what_is_completed_leaves_the_queue(queue: TimedQueue):
    with held(queue, claimed(queue)) as lease:
        lease.complete(ITEMS)

    assert queue.stats().unfinished == 0
    assert queue.stats().completed == 3


def test_what_failed_comes_back_or_is_dead(queue: TimedQueue):
    with held(queue, claimed(queue)) as lease:
        for name in ITEMS:
            lease.begin(name)
        lease.fail({"a.csv": "no such object"}, permanent=True)
        lease.fail({"b.csv": "store away"}, permanent=False)
        lease.complete(["c.csv"])

    assert [(letter.name, letter.reason, letter.owner) for letter in queue.dead_letters()] == [
        ("a.csv", "no such object", "run")
    ]
    assert queue.stats().delayed == 1


def test_a_late_worker_changes_nothing_of_anothers_lease(queue: TimedQueue):
    token = claimed(queue, ["a.csv"])
    with held(queue, token, ["a.csv"]) as late:
        queue.release(token)
        other = queue.claim(1, owner="another")

        late.complete(["a.csv"])
        late.fail({"a.csv": "late"}, permanent=True)
        late.beat()

    assert other is not None
    assert queue.extend(other.token) == ["a.csv"]
    assert queue.stats().dead == 0


def test_what_a_late_worker_wrote_is_checked_once_more(queue: TimedQueue):
    token = claimed(queue, ["a.csv"])
    with held(queue, token, ["a.csv"]) as late:
        queue.release(token)
        other = queue.claim(1, owner="another")
        assert other is not None
        queue.complete(other.token, ["a.csv"])

        late.complete(["a.csv"])

    assert queue.peek() == ["a.csv"]


def test_what_was_not_worked_on_goes_back_as_if_never_claimed(queue: TimedQueue):
    with held(queue, claimed(queue)) as lease:
        lease.complete(["a.csv"])

    again = queue.claim(3, owner="next")
    assert again is not None
    assert {(item.name, item.attempts, item.deliveries) for item in again.items} == {("b.csv", 0, 1), ("c.csv", 0, 1)}


def stop_early(queue: TimedQueue, token: str, error: BaseException) -> None:
    """Begin one item, then run into an error."""

    def work() -> None:
        with held(queue, token) as lease:
            lease.begin("a.csv")
            raise error

    with pytest.raises(type(error), match="oops"):
        work()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_worker_that_stops_early_gives_back_what_it_held(queue: TimedQueue, error: type[BaseException]):
    stop_early(queue, claimed(queue), error("oops"))

    queue.pass_hours(1)
    again = queue.claim(3, owner="next")
    assert again is not None
    assert sorted((item.name, item.attempts) for item in again.items) == [("a.csv", 1), ("b.csv", 0), ("c.csv", 0)]


def test_the_last_attempts_dead_letter_says_how_the_worker_ended(queue: TimedQueue):
    queue.enqueue(["a.csv"])
    for _ in range(SETTINGS.max_attempts):
        queue.pass_hours(4)
        lease = queue.claim(1, owner="sensor")
        assert lease is not None
        stop_early(queue, lease.token, ValueError("oops"))

    [letter] = queue.dead_letters()
    assert letter.reason == "its worker stopped early: ValueError"


@dataclass
class Heart:
    """Counts the beats of a heartbeat."""

    beats: int = 0
    missed: int = 0

    def await_beats(self, count: int) -> None:
        """Wait for so many more."""
        enough = self.beats + count
        wait_until(lambda: self.beats >= enough, f"{count} heartbeats")


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Heart:
    watched = Heart()
    beat = HeldLease.beat

    def watched_beat(lease: HeldLease) -> None:
        try:
            beat(lease)
        except QueueUnavailableError:
            watched.missed += 1
            raise
        watched.beats += 1

    monkeypatch.setattr(HeldLease, "beat", watched_beat)
    return watched


def test_the_heartbeat_keeps_a_lease_that_is_shorter_than_the_work(queue: TimedQueue, heart: Heart):
    short = TimedQueue(queue.client, SETTINGS.model_copy(update={"lease_seconds": 0.2}))
    token = claimed(short, ["a.csv"])

    with held(short, token, ["a.csv"], seconds=0.2):
        heart.await_beats(12)  # three leases long
        assert short.reclaim_expired() == 0
        assert short.extend(token) == ["a.csv"]


def test_the_heart_goes_on_beating_after_redis_was_away(redis: RedisServer, queue: TimedQueue, heart: Heart):
    token = claimed(queue)

    with impatient(redis) as hasty, held(hasty, token, seconds=0.1) as lease:
        with hanging(redis):
            wait_until(lambda: heart.missed > 0, "a heartbeat that fails")
        heart.await_beats(1)
        assert lease.begin("a.csv")


def test_what_went_wrong_first_is_told_though_redis_is_away_too(redis: RedisServer, queue: TimedQueue):
    token = claimed(queue)

    def work(hang: ExitStack) -> None:
        with impatient(redis) as hasty, held(hasty, token):
            hang.enter_context(hanging(redis))
            raise ValueError("oops")

    with ExitStack() as hang, pytest.raises(ValueError, match="oops"):
        work(hang)


def test_a_worker_needs_the_queue_to_begin_with(redis: RedisServer):
    with impatient(redis, port=1) as nowhere, pytest.raises(QueueUnavailableError), held(nowhere, "token"):
        pytest.fail("it began")


@contextmanager
def impatient(redis: RedisServer, **changes: object) -> Iterator[TimedQueue]:
    """A queue whose client soon gives up."""
    where = {"url": None, "host": "127.0.0.1", "port": redis.port, "password": SecretStr(redis.password)}
    settings = redis.settings.model_copy(update={**where, "timeout_seconds": 0.1, "retries": 0, **changes})
    with connect(settings) as client:
        yield TimedQueue(client)


@contextmanager
def hanging(redis: RedisServer) -> Iterator[None]:
    """Redis answers nothing while the context is open."""
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.process.send_signal(signal.SIGCONT)
