"""The embedded Redis server: shared, protected, and gone with its last user."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tempagg_pipeline.core import embedded_redis as module
from tempagg_pipeline.core.embedded_redis import EmbeddedFiles, embedded_redis, running_endpoint
from tempagg_pipeline.core.redis_connection import QueueUnavailableError, check_server, connect
from tempagg_pipeline.core.redis_server import find_redis_servers
from tempagg_pipeline.core.settings import RedisSettings
from tempagg_pipeline_tests.servers.processes import wait_until
from tempagg_pipeline_tests.servers.redis import redis_program

_USER = """
import sys
from pathlib import Path
from tempagg_pipeline.core.embedded_redis import embedded_redis
from tempagg_pipeline.core.settings import RedisSettings
with embedded_redis(RedisSettings.model_validate({"embedded_dir": Path(sys.argv[1])})) as settings:
    print("joined", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> RedisSettings:
    """An embedded server of the test's own, in a directory with an awkward name."""
    redis_program()
    return RedisSettings.model_validate({"embedded_dir": tmp_path / 'a "quoted" name'})


def is_stopped(settings: RedisSettings) -> bool:
    """Whether no keeper is there any more."""
    try:
        running_endpoint(settings)
    except QueueUnavailableError:
        return True
    return False


def another_user(settings: RedisSettings) -> subprocess.Popen[str]:
    """Another process that has joined."""
    user = subprocess.Popen(
        [sys.executable, "-c", _USER, str(settings.embedded_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "joined\n"
    return user


def test_it_keeps_items_from_one_use_to_the_next(settings: RedisSettings) -> None:
    with embedded_redis(settings) as running:
        connect(running).rpush("temperature_job", "a.csv")
    wait_until(lambda: is_stopped(settings), "the keeper has gone")
    with embedded_redis(settings):
        client = connect(settings)
        assert check_server(client) >= "6.2"
        assert client.lrange("temperature_job", 0, -1) == [b"a.csv"]


def test_a_configured_server_is_used_as_it_is() -> None:
    settings = RedisSettings.model_validate({"host": "redis.example"})
    with embedded_redis(settings) as used:
        assert used == settings


def test_processes_share_it_and_the_last_one_ends_it(settings: RedisSettings) -> None:
    with another_user(settings) as user:
        with embedded_redis(settings):
            connect(settings).rpush("temperature_job", "a.csv")
        assert connect(settings).llen("temperature_job") == 1
        user.communicate()
    wait_until(lambda: is_stopped(settings), "the keeper has gone")


def test_it_ends_when_its_only_user_is_killed(settings: RedisSettings) -> None:
    with another_user(settings) as user:
        connect(settings).rpush("temperature_job", "a.csv")
        user.kill()
    wait_until(lambda: is_stopped(settings), "the keeper has gone")


def test_a_killed_server_comes_back_at_its_port_with_all_it_had_answered(settings: RedisSettings) -> None:
    with embedded_redis(settings):
        client = connect(settings)
        client.rpush("temperature_job", "a.csv")
        killed = client.info("server")["process_id"]
        os.kill(killed, signal.SIGKILL)

        def is_back() -> bool:
            try:
                return client.info("server")["process_id"] != killed
            except RedisError:
                return False

        wait_until(is_back, "the server is back")
        assert client.lrange("temperature_job", 0, -1) == [b"a.csv"]


def test_a_killed_keeper_is_replaced_by_the_next_user(settings: RedisSettings) -> None:
    with embedded_redis(settings):
        client = connect(settings)
        client.rpush("temperature_job", "a.csv")
        server = client.info("server")["process_id"]
        keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: is_stopped(settings), "the keeper has gone")
        with embedded_redis(settings):
            assert client.lrange("temperature_job", 0, -1) == [b"a.csv"]


def test_only_its_owner_can_read_the_password_and_no_command_line_shows_it(settings: RedisSettings) -> None:
    with embedded_redis(settings) as running:
        files = EmbeddedFiles(settings.embedded_dir)
        password = files.password.read_text()
        assert stat.S_IMODE(settings.embedded_dir.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in (files.password, files.config)} == {0o600}
        pid = connect(running).info("server")["process_id"]
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()
        assert password not in repr(running) + files.log.read_text() + module.cli_command(settings)


def test_data_of_an_older_server_is_taken_over_by_a_newer_one_and_then_kept_by_it(
    settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, *_, newest = sorted([*find_redis_servers()] * 2, key=lambda program: program.version)
    if not oldest.version < (7, 0) <= newest.version:
        pytest.skip("only Python 3.11 has a wheel of Redis 6.2")
    for preferred in (oldest, newest, oldest):
        monkeypatch.setattr(module, "find_redis_server", lambda program=preferred: program)
        with embedded_redis(settings):
            connect(settings).rpush("temperature_job", "a.csv")
            pushed = connect(settings).lrange("temperature_job", 0, -1)
        wait_until(lambda: is_stopped(settings), "the keeper has gone")
    assert pushed == [b"a.csv"] * 3


def test_data_of_a_newer_server_is_never_ignored(settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    EmbeddedFiles(settings.embedded_dir).aof_directory.mkdir(parents=True)
    old = module.RedisServerProgram(Path("/usr/bin/redis-server"), (6, 2, 14))
    monkeypatch.setattr(module, "find_redis_server", lambda: old)
    monkeypatch.setattr(module, "find_redis_servers", lambda: [old])
    with (
        pytest.raises(module.EmbeddedRedisError, match=r"written by Redis 7 or newer and .* is 6\.2\.14"),
        embedded_redis(settings),
    ):
        pass


def test_a_server_that_does_not_start_says_why(settings: RedisSettings) -> None:
    settings.embedded_dir.mkdir(parents=True)
    (settings.embedded_dir / "appendonly.aof").write_text("no append-only file")
    with pytest.raises(module.EmbeddedRedisError, match="Bad file format"), embedded_redis(settings):
        pass
