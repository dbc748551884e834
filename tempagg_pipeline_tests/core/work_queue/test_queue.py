"""The queue's rules, one by one."""

import pytest

from tempagg_pipeline.core.work_queue import Lease
from tempagg_pipeline_tests.core.work_queue.conftest import HOUR, TimedQueue


def claimed(queue: TimedQueue, *names: str) -> Lease:
    """Push names and claim them."""
    queue.enqueue(names)
    lease = queue.claim(len(names), owner="tick")
    assert lease is not None
    assert lease.names == list(names)
    return lease


def started(queue: TimedQueue, *names: str) -> Lease:
    """Push names, claim and start them."""
    lease = claimed(queue, *names)
    assert queue.start(lease.token, names, owner="run") == list(names)
    return lease


def test_an_empty_queue_gives_no_lease(queue: TimedQueue) -> None:
    assert queue.claim(10, owner="tick") is None
    assert queue.stats().unfinished == 0


def test_any_producer_s_pushes_are_claimed_in_order_up_to_the_limit(queue: TimedQueue) -> None:
    queue.client.rpush("temperature_job", "a.csv", "b.csv", "c.csv")
    first, second = queue.claim(2, owner="tick"), queue.claim(2, owner="tick")
    assert first is not None
    assert second is not None
    assert (first.names, second.names) == (["a.csv", "b.csv"], ["c.csv"])
    assert first.token != second.token
    assert [(item.attempts, item.deliveries) for item in first.items] == [(0, 1), (0, 1)]


def test_what_is_leased_is_not_claimed_again(queue: TimedQueue) -> None:
    claimed(queue, "a.csv")
    assert queue.claim(1, owner="tick") is None


def test_a_completed_item_is_gone(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    assert queue.complete(lease.token, ["a.csv"]) == ["a.csv"]
    stats = queue.stats()
    assert (stats.unfinished, stats.completed, stats.oldest_seconds) == (0, 1, 0)
    assert set(queue.client.keys()) == {b"{temperature_job}:counters"}


def test_a_repeated_claim_returns_the_same_lease(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv", "b.csv"])
    first = queue.claim(1, owner="tick", token="t1")
    again = queue.claim(1, owner="tick", token="t1")
    assert first is not None
    assert again is not None
    assert first.names == again.names == ["a.csv"]
    assert queue.stats().ready == 1


def test_an_expired_lease_goes_to_the_next_claimer_after_a_back_off(queue: TimedQueue) -> None:
    claimed(queue, "a.csv")
    queue.pass_hours(1)
    assert queue.claim(1, owner="tick") is None
    queue.pass_hours(1)
    lease = queue.claim(1, owner="tick")
    assert lease is not None
    assert (lease.items[0].attempts, lease.items[0].deliveries) == (0, 2)


def test_a_stale_token_changes_nothing(queue: TimedQueue) -> None:
    old = started(queue, "a.csv")
    queue.pass_hours(2)
    queue.reclaim_expired()
    queue.pass_hours(1)
    new = queue.claim(1, owner="tick")
    assert new is not None
    names = ["a.csv"]
    assert queue.start(old.token, names, owner="late") == []
    assert queue.extend(old.token, names) == []
    assert queue.extend(old.token) == []
    assert queue.complete(old.token, names) == []
    assert queue.fail(old.token, {"a.csv": "late"}, permanent=True).dead == []
    assert queue.release(old.token).waiting == []
    assert queue.complete(new.token, names) == names


def test_an_expired_lease_that_nobody_took_back_is_still_its_holder_s(queue: TimedQueue) -> None:
    lease = claimed(queue, "a.csv")
    queue.pass_hours(2)
    assert queue.start(lease.token, ["a.csv"], owner="run") == ["a.csv"]
    assert queue.reclaim_expired() == 0


def test_extend_keeps_a_lease_alive(queue: TimedQueue) -> None:
    lease = claimed(queue, "a.csv", "b.csv")
    queue.pass_hours(0.9)
    assert sorted(queue.extend(lease.token)) == ["a.csv", "b.csv"]
    queue.pass_hours(0.9)
    assert queue.reclaim_expired() == 0
    assert queue.extend(lease.token, ["b.csv"], lease_seconds=2 * HOUR) == ["b.csv"]
    queue.pass_hours(0.2)
    assert queue.reclaim_expired() == 1
    assert queue.extend(lease.token, ["a.csv", "b.csv"]) == ["b.csv"]


def test_extend_never_shortens_a_lease(queue: TimedQueue) -> None:
    lease = claimed(queue, "a.csv")
    queue.extend(lease.token, lease_seconds=1)
    queue.pass_hours(0.9)
    assert queue.reclaim_expired() == 0


def test_starting_counts_one_attempt_however_often_it_is_repeated(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.start(lease.token, ["a.csv"], owner="run")
    queue.fail(lease.token, {"a.csv": "store down"})
    queue.pass_hours(1)
    again = queue.claim(1, owner="tick")
    assert again is not None
    assert (again.items[0].attempts, again.items[0].deliveries) == (1, 2)


def test_a_failure_comes_back_later_and_later_and_ends_as_a_dead_letter(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv"])
    for hours in (1, 2):
        lease = queue.claim(1, owner="tick")
        assert lease is not None
        queue.start(lease.token, ["a.csv"], owner="run")
        assert queue.fail(lease.token, {"a.csv": "store down"}).waiting == ["a.csv"]
        queue.pass_hours(hours - 0.5)
        assert queue.claim(1, owner="tick") is None
        queue.pass_hours(0.5)
    lease = queue.claim(1, owner="tick")
    assert lease is not None
    queue.start(lease.token, ["a.csv"], owner="run3")
    assert queue.fail(lease.token, {"a.csv": "store down for good"}).dead == ["a.csv"]
    [letter] = queue.dead_letters()
    assert (letter.name, letter.reason, letter.attempts, letter.owner) == ("a.csv", "store down for good", 3, "run3")
    assert (letter.died - letter.first_seen).total_seconds() == pytest.approx(3 * HOUR, abs=60)


def test_a_permanent_failure_is_a_dead_letter_at_once(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv", "b.csv")
    result = queue.fail(lease.token, {"a.csv": "line 3: no number"}, permanent=True)
    assert (result.waiting, result.dead) == ([], ["a.csv"])
    assert queue.complete(lease.token, ["b.csv"]) == ["b.csv"]


def test_release_undoes_a_claim(queue: TimedQueue) -> None:
    lease = claimed(queue, "a.csv", "b.csv")
    queue.start(lease.token, ["a.csv"], owner="run")
    assert sorted(queue.release(lease.token).waiting) == ["a.csv", "b.csv"]
    again = queue.claim(2, owner="tick")
    assert again is not None
    assert [(item.attempts, item.deliveries) for item in again.items] == [(0, 1), (0, 1)]


def test_release_with_a_reason_is_a_failure_of_what_was_started(queue: TimedQueue) -> None:
    for _ in range(3):
        lease = queue.claim(2, owner="tick") or claimed(queue, "killer.csv", "other.csv")
        queue.start(lease.token, ["killer.csv"], owner="run")
        queue.release(lease.token, reason="worker died")
        queue.pass_hours(4)
    [letter] = queue.dead_letters()
    assert (letter.name, letter.reason, letter.attempts) == ("killer.csv", "worker died", 3)
    lease = queue.claim(2, owner="tick")
    assert lease is not None
    assert [(item.name, item.attempts, item.deliveries) for item in lease.items] == [("other.csv", 0, 4)]


def test_started_items_whose_lease_expires_again_and_again_are_dead_letters(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv"])
    for _ in range(3):
        lease = queue.claim(1, owner="tick")
        assert lease is not None
        queue.start(lease.token, ["a.csv"], owner="run7")
        queue.pass_hours(1)
        assert queue.reclaim_expired() == 1
        queue.pass_hours(4)
    [letter] = queue.dead_letters()
    assert (letter.attempts, letter.owner) == (3, "run7")
    assert "lease expired" in letter.reason


def test_items_that_nobody_starts_come_back_slower_and_never_die(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv"])
    for hours in (1, 2, 4, 4, 4):
        lease = queue.claim(1, owner="tick")
        assert lease is not None
        queue.pass_hours(1)
        queue.reclaim_expired()
        queue.pass_hours(hours - 0.5)
        assert queue.claim(1, owner="tick") is None
        queue.pass_hours(0.5)
    assert queue.stats().ready == 1
    assert queue.dead_letters() == []


def test_a_name_pushed_twice_is_merged_by_one_claim(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv", "a.csv", "b.csv"])
    lease = queue.claim(2, owner="tick")
    assert lease is not None
    assert lease.names == ["a.csv", "b.csv"]
    assert queue.stats().ready == 0


def test_a_name_pushed_while_leased_is_kept_for_afterwards(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.enqueue(["a.csv"])
    assert queue.claim(1, owner="tick") is None
    assert queue.stats().parked == 1
    queue.complete(lease.token, ["a.csv"])
    again = queue.claim(1, owner="tick")
    assert again is not None
    assert (again.names, again.items[0].attempts) == (["a.csv"], 0)


def test_a_name_pushed_while_leased_is_one_with_the_redelivery(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.enqueue(["a.csv"])
    assert queue.claim(1, owner="tick") is None
    queue.fail(lease.token, {"a.csv": "store down"})
    stats = queue.stats()
    assert (stats.ready, stats.delayed, stats.parked) == (0, 1, 0)


def test_a_name_pushed_while_leased_is_kept_when_the_lease_ends_in_a_dead_letter(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.enqueue(["a.csv"])
    assert queue.claim(1, owner="tick") is None
    queue.fail(lease.token, {"a.csv": "bad file"}, permanent=True)
    stats = queue.stats()
    assert (stats.ready, stats.dead) == (1, 1)


def test_a_name_pushed_while_delayed_is_ready_at_once_with_its_attempts(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.fail(lease.token, {"a.csv": "store down"})
    queue.enqueue(["a.csv"])
    again = queue.claim(1, owner="tick")
    assert again is not None
    assert again.items[0].attempts == 1
    assert queue.stats().delayed == 0


def test_a_dead_letter_pushed_again_begins_afresh(queue: TimedQueue) -> None:
    lease = started(queue, "a.csv")
    queue.fail(lease.token, {"a.csv": "bad file"}, permanent=True)
    queue.enqueue(["a.csv"])
    assert queue.stats().dead == 1
    again = queue.claim(1, owner="tick")
    assert again is not None
    assert again.items[0].attempts == 0
    assert queue.dead_letters() == []


def test_dead_letters_are_requeued_or_purged_by_name_or_all(queue: TimedQueue) -> None:
    names = [f"{number}.csv" for number in range(6)]
    lease = started(queue, *names)
    queue.fail(lease.token, dict.fromkeys(names, "bad file"), permanent=True)
    assert queue.requeue(["0.csv", "unknown.csv"]) == 1
    assert queue.purge(["1.csv"]) == 1
    assert len(queue.dead_letters(offset=1, limit=2)) == 2
    assert queue.requeue() == 4
    assert queue.purge() == 0
    again = queue.claim(10, owner="tick")
    assert again is not None
    assert sorted(again.names) == ["0.csv", "2.csv", "3.csv", "4.csv", "5.csv"]
    assert {item.attempts for item in again.items} == {0}


@pytest.mark.parametrize(
    ("junk", "name", "reason"),
    [
        (b"", "empty", "found an empty string"),
        (b"\xff\xfeT.csv", r"\xff\xfeT.csv", "expected a file name in UTF-8"),
        (b"\xed\xa0\x80.csv", r"\xed\xa0\x80.csv", "expected a file name in UTF-8"),
        (b"x" * 5_000_000, "x" * 200 + "... sha1 ", "at most 1024 bytes, found 5000000"),
    ],
)
def test_junk_becomes_a_dead_letter_and_blocks_nothing(queue: TimedQueue, junk: bytes, name: str, reason: str) -> None:
    queue.client.rpush("temperature_job", junk, "Münster.csv", junk)
    lease = queue.claim(2, owner="tick")
    assert lease is not None
    assert lease.names == ["Münster.csv"]
    [letter] = queue.dead_letters()
    assert letter.name.startswith(f"(no file name) {name}")
    assert reason in letter.reason


def test_odd_names_go_the_whole_way(queue: TimedQueue) -> None:
    names = ["a b.csv", "x:y.csv", "new\nline.csv", "nul\0.csv", "😀.csv", "{}", "(empty)", "-", "'\"\\"]
    lease = started(queue, *names)
    queue.fail(lease.token, {names[0]: 'reason with "quotes" and ümlauts\n'}, permanent=True)
    assert queue.complete(lease.token, names[1:]) == names[1:]
    assert queue.requeue([names[0]]) == 1


def test_junk_without_end_does_not_hold_up_one_claim(queue: TimedQueue) -> None:
    queue.client.rpush("temperature_job", *([b""] * 12_000), "a.csv")
    claims = [queue.claim(1, owner="tick") for _ in range(3)]
    assert claims[:2] == [None, None]
    assert claims[2] is not None


def test_stats_tell_where_everything_is(queue: TimedQueue) -> None:
    lease = started(queue, "done.csv", "dead.csv", "delayed.csv", "started.csv")
    queue.complete(lease.token, ["done.csv"])
    queue.fail(lease.token, {"dead.csv": "bad"}, permanent=True)
    queue.fail(lease.token, {"delayed.csv": "store down"})
    claimed(queue, "claimed.csv")
    queue.enqueue(["started.csv"])
    assert queue.claim(1, owner="tick") is None
    queue.enqueue(["ready.csv", "ready2.csv"])
    queue.pass_hours(0.5)
    stats = queue.stats()
    counts = (stats.ready, stats.delayed, stats.claimed, stats.started, stats.parked, stats.dead, stats.completed)
    assert counts == (2, 1, 1, 1, 1, 1, 1)
    assert stats.oldest_seconds == pytest.approx(0.5 * HOUR, abs=60)


def test_the_age_of_plain_pushes_counts_from_the_first_look_at_the_list(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv"])
    queue.stats()
    queue.pass_hours(2)
    queue.enqueue(["b.csv"])
    assert queue.stats().oldest_seconds == pytest.approx(2 * HOUR, abs=60)
    lease = queue.claim(2, owner="tick")
    assert lease is not None
    assert [round(item.age_seconds / HOUR) for item in lease.items] == [2, 0]


def test_the_age_of_plain_pushes_survives_somebody_who_empties_the_list(queue: TimedQueue) -> None:
    queue.enqueue(["a.csv", "b.csv"])
    queue.stats()
    queue.pass_hours(2)
    queue.client.delete("temperature_job")
    queue.stats()
    queue.enqueue(["c.csv"])
    assert queue.stats().oldest_seconds < 60


def test_leases_tell_who_holds_what(queue: TimedQueue) -> None:
    first = claimed(queue, "a.csv", "b.csv")
    queue.pass_hours(0.25)
    second = claimed(queue, "c.csv")
    queue.start(first.token, ["a.csv"], owner="run1")
    queue.pass_hours(0.25)
    one, two = queue.leases()
    assert (one.token, one.owner, one.names, one.started) == (first.token, "run1", 2, 1)
    assert (two.token, two.owner, two.names, two.started) == (second.token, "tick", 1, 0)
    assert one.age_seconds == pytest.approx(0.5 * HOUR, abs=60)
    assert one.expires_in_seconds == pytest.approx(0.5 * HOUR, abs=60)
    assert [info.token for info in queue.leases(limit=1)] == [first.token]


def test_peek_shows_what_comes_next(queue: TimedQueue) -> None:
    lease = started(queue, "back.csv")
    queue.enqueue(["a.csv", "b.csv"])
    queue.client.rpush("temperature_job", b"\xff")
    queue.release(lease.token)
    assert queue.peek() == ["back.csv", "a.csv", "b.csv", "\\xff"]
    assert queue.peek(2) == ["back.csv", "a.csv"]


def test_big_batches_go_through_in_pieces(queue: TimedQueue) -> None:
    names = [f"station{number}.csv" for number in range(12_345)]
    lease = started(queue, *names)
    assert len(queue.extend(lease.token)) == 12_345
    assert len(queue.fail(lease.token, dict.fromkeys(names[:3000], "bad"), permanent=True).dead) == 3000
    assert len(queue.complete(lease.token, names[3000:6000])) == 3000
    assert len(queue.release(lease.token).waiting) == 6345
    assert queue.requeue() == 3000


def test_a_token_of_the_caller_s_own_must_be_plain(queue: TimedQueue) -> None:
    with pytest.raises(ValueError, match="expected a token of 1 to 64 letters"):
        queue.claim(1, owner="tick", token="a:b")


def test_scripts_are_sent_again_when_the_server_has_lost_them(queue: TimedQueue) -> None:
    claimed(queue, "a.csv")
    queue.client.script_flush()
    claimed(queue, "b.csv")
