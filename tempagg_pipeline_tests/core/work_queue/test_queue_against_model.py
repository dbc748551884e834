"""Random histories of the queue against its model, on a real server: every answer and every place must be the same."""

import json
import math
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tempagg_pipeline.core.work_queue import GivenBack
from tempagg_pipeline_tests.core.work_queue.conftest import HOUR, TimedQueue
from tempagg_pipeline_tests.core.work_queue.contents import contents
from tempagg_pipeline_tests.core.work_queue.model_queue import JUNK, ModelQueue
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_program

HISTORIES = 180
STEPS = 80

NAMES = ["a.csv", "b.csv", "c.csv", "d.csv", "(no file name) empty"]
names_lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
pushes = st.lists(st.sampled_from([*(name.encode() for name in NAMES[:4]), *JUNK]), min_size=1, max_size=4)
some_or_all = st.none() | names_lists
hours = st.integers(1, 3)


class QueueMachine(RuleBasedStateMachine):
    """Does the same to the queue and to the model."""

    queue: TimedQueue
    steps_done = 0

    @initialize()
    def begin_empty(self) -> None:
        self.queue.client.flushdb()
        self.model = ModelQueue()
        self.tokens: list[str] = ["never-given"]

    def token(self, index: int) -> str:
        """One of the tokens so far, mostly a recent one, which may still hold something."""
        return self.tokens[max(0, len(self.tokens) - 1 - index)]

    @rule(names=pushes)
    def push(self, names: list[bytes]) -> None:
        self.queue.client.rpush(self.queue.name, *names)
        self.model.pushed += names

    @rule(limit=st.integers(1, 4), lease=hours)
    def claim(self, limit: int, lease: int) -> None:
        token, owner = f"t{len(self.tokens)}", f"tick{len(self.tokens)}"
        self.model.reclaim()
        due = self.model.due()
        leased = self.queue.claim(limit, owner=owner, lease_seconds=lease * HOUR, token=token)
        names = leased.names if leased else []
        due_taken = self.allowed_choice(names[: min(limit, len(due))], due)
        assert names == self.model.claim(token, owner, limit, lease, due_taken)
        if leased:
            self.tokens.append(token)
            for item in leased.items:
                known = self.model.items[item.name]
                assert (item.attempts, item.deliveries) == (known.attempts, known.deliveries)

    @staticmethod
    def allowed_choice(names: list[str], due: dict[str, int]) -> list[str]:
        """The names, if they are of those due and none left out was due earlier."""
        assert set(names) <= set(due)
        left_out = set(due) - set(names)
        assert not left_out or max(due[name] for name in names) <= min(due[name] for name in left_out)
        return names

    @rule(index=st.integers(0, 3))
    def repeat_a_claim(self, index: int) -> None:
        token = self.token(index)
        if self.model.held(token):
            leased = self.queue.claim(1, owner="again", token=token)
            assert leased is not None
            assert sorted(leased.names) == sorted(self.model.held(token))

    @rule(index=st.integers(0, 3), names=names_lists, lease=hours)
    def start(self, index: int, names: list[str], lease: int) -> None:
        token, owner = self.token(index), f"run{index}"
        started = self.queue.start(token, names, owner=owner, lease_seconds=lease * HOUR)
        assert started == self.model.start(token, names, owner, lease)

    @rule(index=st.integers(0, 3), names=some_or_all, lease=hours)
    def extend(self, index: int, names: list[str] | None, lease: int) -> None:
        token = self.token(index)
        extended = self.queue.extend(token, names, lease_seconds=lease * HOUR)
        assert sorted(extended) == sorted(self.model.extend(token, names, lease))

    @rule(index=st.integers(0, 3), names=names_lists)
    def complete(self, index: int, names: list[str]) -> None:
        token = self.token(index)
        assert self.queue.complete(token, names) == self.model.complete(token, names)

    @rule(index=st.integers(0, 3), names=names_lists, permanent=st.booleans())
    def fail(self, index: int, names: list[str], permanent: bool) -> None:
        token, failures = self.token(index), {name: f"{name} is bad" for name in names}
        result = self.queue.fail(token, failures, permanent=permanent)
        self.same(result, self.model.fail(token, failures, permanent))

    @rule(index=st.integers(0, 3), names=some_or_all, reason=st.sampled_from([None, "worker died"]))
    def release(self, index: int, names: list[str] | None, reason: str | None) -> None:
        token = self.token(index)
        self.same(self.queue.release(token, names, reason=reason), self.model.release(token, names, reason))

    @staticmethod
    def same(result: GivenBack, expected: tuple[Sequence[str], Sequence[str]]) -> None:
        assert (sorted(result.waiting), sorted(result.dead)) == (sorted(expected[0]), sorted(expected[1]))

    @rule()
    def reclaim(self) -> None:
        assert self.queue.reclaim_expired() == self.model.reclaim()

    @rule(passed=hours)
    def pass_hours(self, passed: int) -> None:
        self.queue.pass_hours(passed)
        self.model.now += passed

    @rule(names=names_lists)
    def requeue(self, names: list[str]) -> None:
        assert self.queue.requeue(names) == len(self.model.requeue(names))

    @rule()
    def requeue_all(self) -> None:
        expected = self.model.dead.copy()
        before = len(self.model.pushed)
        assert self.queue.requeue() == len(self.model.requeue(None))
        # In the order in which they died, which the model does not know to the millisecond.
        order = contents(self.queue.client, self.queue.name).pushed[before:]
        assert Counter(order) == Counter(name.encode() for name in expected)
        self.model.pushed[before:] = order

    @rule(names=some_or_all)
    def purge(self, names: list[str] | None) -> None:
        assert self.queue.purge(names) == len(self.model.purge(names))

    @invariant()
    def everything_is_where_the_model_says(self) -> None:
        type(self).steps_done += 1
        found, model = contents(self.queue.client, self.queue.name), self.model
        found.check()
        assert found.pushed == model.pushed
        assert found.parked == model.parked
        for place in ("waiting", "claimed", "started"):
            hours_left = {name: math.ceil(ms / 1000 / HOUR) for name, ms in getattr(found, place).items()}
            expected = {name: item for name, item in model.items.items() if item.place == place}
            assert hours_left == {name: item.hour - model.now for name, item in expected.items()}
        assert found.items == {
            name: f"{item.attempts} {item.deliveries} {item.token}" for name, item in model.items.items()
        }
        assert set(found.dead) == set(model.dead)
        for name, (reason, attempts, owner) in model.dead.items():
            letter = json.loads(found.letters[name])
            assert letter["reason"].startswith(reason)
            assert (letter["attempts"], letter["owner"]) == (attempts, owner)

    @invariant()
    def stats_agree(self) -> None:
        model, stats = self.model, self.queue.stats()
        places = Counter(item.place for item in model.items.values())
        due = len(model.due())
        assert (stats.ready, stats.delayed) == (len(model.pushed) + due, places["waiting"] - due)
        assert (stats.claimed, stats.started) == (places["claimed"], places["started"])
        assert (stats.parked, stats.dead) == (len(model.parked), len(model.dead))
        assert stats.completed == model.completed


def test_ten_thousand_random_steps_agree_with_the_model(redis: RedisServer, queue: TimedQueue) -> None:
    histories, steps = (HISTORIES, 10_000) if redis.program == redis_program() else (HISTORIES // 10, 1000)

    class Machine(QueueMachine):
        """On this test's server."""

    Machine.queue = queue
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert Machine.steps_done >= steps
