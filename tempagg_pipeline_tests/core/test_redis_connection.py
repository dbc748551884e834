"""Every way to reach a Redis server, each with a real one; and what is said when it can't be reached."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tempagg_pipeline.core.redis_connection import QueueUnavailableError, check_server, connect
from tempagg_pipeline.core.settings import QueueSettings, RedisSettings, SettingsError
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.servers.processes import free_port, wait_until
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_program, redis_server
from tempagg_pipeline_tests.servers.tls import tls_relay

SECRET = "s3cret/p@ss word"
QUEUE = QueueSettings.model_validate({})


def settings(**fields: object) -> RedisSettings:
    """Settings that do not wait long."""
    return RedisSettings.model_validate({"timeout_seconds": 2.0, "retries": 0, **fields})


def use_the_whole_queue(redis_settings: RedisSettings) -> None:
    """Take an item each way that the queue has."""
    queue = WorkQueue(connect(redis_settings), QUEUE)
    queue.enqueue(["a.csv", "b.csv", "c.csv"])
    lease = queue.claim(3, owner="tick")
    assert lease is not None
    assert queue.start(lease.token, lease.names, owner="run") == ["a.csv", "b.csv", "c.csv"]
    assert len(queue.extend(lease.token)) == 3
    assert queue.fail(lease.token, {"a.csv": "bad"}, permanent=True).dead == ["a.csv"]
    assert queue.complete(lease.token, ["b.csv"]) == ["b.csv"]
    assert queue.release(lease.token).waiting == ["c.csv"]
    assert queue.reclaim_expired() == 0
    assert [letter.name for letter in queue.dead_letters()] == ["a.csv"]
    assert queue.requeue() == 1
    assert queue.peek() == ["c.csv", "a.csv"]
    assert queue.leases() == []
    assert queue.purge() == 0
    stats = queue.stats()
    assert (stats.ready, stats.completed) == (2, 1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server(tmp_path / "redis") as running:
        yield running


def test_a_host_with_a_password(server: RedisServer) -> None:
    use_the_whole_queue(settings(host="127.0.0.1", port=server.port, password=server.password))


def test_a_url_takes_the_password_from_beside_it(server: RedisServer) -> None:
    use_the_whole_queue(settings(url=f"redis://127.0.0.1:{server.port}/3", password=server.password))
    assert server.client().dbsize() == 0


def test_tls_with_an_authority_of_one_s_own(server: RedisServer, tmp_path: Path) -> None:
    with tls_relay(tmp_path / "tls", server.port) as relay:
        url = f"rediss://:{server.password}@localhost:{relay.port}"
        use_the_whole_queue(settings(url=url, ca_file=relay.ca_file))
        by_host = settings(host="127.0.0.1", port=relay.port, tls=True, ca_file=relay.ca_file, password=server.password)
        assert check_server(connect(by_host)) >= "6.2"


def test_tls_refuses_a_server_that_nobody_vouches_for(server: RedisServer, tmp_path: Path) -> None:
    with tls_relay(tmp_path / "tls", server.port) as relay:
        client = connect(settings(url=f"rediss://:{server.password}@localhost:{relay.port}"))
        with pytest.raises(QueueUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            check_server(client)


def test_an_acl_user_with_no_more_rights_than_the_pipeline_needs(server: RedisServer) -> None:
    rights = ["~temperature_job", "~{temperature_job}:*", "+@read", "+@write", "+@scripting", "+@connection", "+time"]
    server.client().execute_command("ACL", "SETUSER", "pipeline", "on", f">{SECRET}", *rights, "-@dangerous")
    use_the_whole_queue(settings(url=f"redis://127.0.0.1:{server.port}", username="pipeline", password=SECRET))


def test_an_acl_user_that_may_only_push_is_producer_enough(server: RedisServer) -> None:
    server.client().execute_command(
        "ACL", "SETUSER", "station", "on", f">{SECRET}", "~temperature_job", "+rpush", "+@connection"
    )
    queue = WorkQueue(connect(settings(host="127.0.0.1", port=server.port, username="station", password=SECRET)), QUEUE)
    assert queue.enqueue(["a.csv"]) == 1
    with pytest.raises(QueueUnavailableError, match="permissions"):
        queue.claim(1, owner="station")


def test_sentinel_finds_the_server_and_follows_a_failover(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "one") as one,
        redis_server(tmp_path / "two", password=one.password, config=[
            f"replicaof 127.0.0.1 {one.port}", f"masterauth {one.password}", "repl-diskless-sync-delay 0",
        ]) as two,
        redis_server(tmp_path / "sentinel", sentinel=True, config=[
            f"sentinel monitor weather 127.0.0.1 {one.port} 1", f"sentinel auth-pass weather {one.password}",
            "sentinel down-after-milliseconds weather 500", "sentinel failover-timeout weather 3000",
        ]) as sentinel,
    ):  # fmt: skip
        wait_until(lambda: two.client().info("replication")["master_link_status"] == "up", "the replica follows")
        wait_until(lambda: bool(sentinel.client().execute_command("SENTINEL", "REPLICAS", "weather")), "it is known")
        followed = settings(
            url=f"redis+sentinel://:{one.password}@127.0.0.1:{sentinel.port}/weather",
            sentinel_password=sentinel.password,
        )
        use_the_whole_queue(followed)
        queue = WorkQueue(connect(followed), QUEUE)
        one.client().wait(1, 5000)
        one.kill()

        def goes_on() -> bool:
            try:
                return queue.stats().completed == 1
            except QueueUnavailableError:
                return False

        wait_until(goes_on, "the replica has taken over")
        lease = queue.claim(2, owner="tick")
        assert lease is not None
        assert lease.names == ["c.csv", "a.csv"]


def test_a_cluster_serves_all_keys_of_the_queue_from_one_node(tmp_path: Path) -> None:
    config = ["cluster-enabled yes", "cluster-node-timeout 2000"]
    with (
        redis_server(tmp_path / "one", config, port=port_for_a_cluster()) as one,
        redis_server(tmp_path / "two", config, port=port_for_a_cluster(), password=one.password) as two,
        redis_server(tmp_path / "three", config, port=port_for_a_cluster(), password=one.password) as three,
    ):
        nodes = (one, two, three)
        for index, node in enumerate(nodes):
            node.client().execute_command("CLUSTER", "ADDSLOTS", *range(index, 16384, 3))
            one.client().execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_until(
            lambda: all("cluster_state:ok" in str(node.client().execute_command("CLUSTER", "INFO")) for node in nodes),
            "the cluster is whole",
        )
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        url = settings(url=f"redis+cluster://:{one.password}@{hosts}")
        assert check_server(connect(url)) >= "6.2"
        use_the_whole_queue(url)


def port_for_a_cluster() -> int:
    """A free port that leaves room for the cluster's own, 10,000 above."""
    while (port := free_port()) > 55_000:
        pass
    return port


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@localhost",
        "localhost:6379",
        "redis://",
        "redis://h:port",
        "redis://h1,h2",
        "redis://h/db",
        "redis://h?db=1",
        "redis+sentinel://h:26379",
        "redis+cluster://",
    ],
)
def test_a_url_of_no_known_form_says_what_was_expected_and_shows_no_secret(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL: expected redis://") as caught:
        connect(settings(url=url))
    assert SECRET not in str(caught.value)


def test_nobody_there_is_one_clear_line() -> None:
    port = free_port()
    with pytest.raises(QueueUnavailableError, match=rf"queue temperature_job: .*127\.0\.0\.1:{port}") as caught:
        WorkQueue(connect(settings(url=f"redis://:{quote(SECRET, safe='')}@127.0.0.1:{port}")), QUEUE).stats()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(settings(host="127.0.0.1", port=silent.getsockname()[1], timeout_seconds=0.1))
        with pytest.raises(QueueUnavailableError, match=r"[Tt]ime"):
            WorkQueue(client, QUEUE).stats()


@pytest.mark.parametrize("kind", ["redis", "redis+sentinel", "redis+cluster"])
def test_a_wrong_password_is_never_shown(server: RedisServer, kind: str) -> None:
    wrong = settings(url=f"{kind}://:{quote(SECRET, safe='')}@127.0.0.1:{server.port}/", password=SECRET)
    if kind == "redis+sentinel":
        wrong = settings(url=f"{kind}://127.0.0.1:{server.port}/weather", password=SECRET, sentinel_password=SECRET)
    with pytest.raises(QueueUnavailableError) as caught:
        WorkQueue(connect(wrong), QUEUE).stats()
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(wrong)
    assert caught.value.__suppress_context__


def test_a_client_does_not_show_its_password(server: RedisServer) -> None:
    client = connect(server.settings)
    client.ping()
    assert server.password not in repr(client)


def test_without_any_server_the_error_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(QueueUnavailableError, match="no REDIS_URL or REDIS_HOST is set"):
        connect(settings(embedded_dir=tmp_path))


def test_a_server_older_than_the_scripts_need_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(server.settings)
    monkeypatch.setattr(client, "info", lambda _: {"redis_version": "6.0.16"})
    with pytest.raises(QueueUnavailableError, match=r"expected Redis 6\.2 or newer, found 6\.0\.16"):
        check_server(client)


def test_what_was_answered_survives_a_killed_server(tmp_path: Path) -> None:
    redis_program()
    with redis_server(tmp_path / "redis", ["appendonly yes", "appendfsync always"]) as server:
        use_the_whole_queue(server.settings)
        queue = WorkQueue(server.client(), QUEUE)
        before = queue.stats()
        server.kill()
        server.start()
        after = queue.stats()
        assert (after.ready, after.completed) == (before.ready, before.completed) == (2, 1)


def test_a_full_server_refuses_pushes_and_lets_the_work_go_on(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        queue = WorkQueue(server.client(), QUEUE)
        queue.enqueue(f"{number}.csv" for number in range(100))
        held = queue.claim(10, owner="tick")
        assert held is not None
        server.client().config_set("maxmemory", 1)
        with pytest.raises(QueueUnavailableError, match="maxmemory"):
            queue.enqueue(["late.csv"])
        assert queue.stats().ready == 90
        assert queue.start(held.token, held.names, owner="run") == held.names
        assert queue.extend(held.token, held.names) == held.names
        assert len(queue.fail(held.token, {held.names[0]: "store down"}).waiting) == 1
        assert len(queue.fail(held.token, {held.names[1]: "bad"}, permanent=True).dead) == 1
        assert queue.complete(held.token, held.names[2:5]) == held.names[2:5]
        assert len(queue.release(held.token).waiting) == 5
        rest = queue.claim(100, owner="tick")
        assert rest is not None
        assert len(rest.names) == 95
