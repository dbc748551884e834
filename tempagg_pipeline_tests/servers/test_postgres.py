"""The tests' own PostgreSQL."""

from contextlib import closing

import psycopg2

from tempagg_pipeline_tests.servers.postgres import Postgres


def test_a_database_of_its_own_is_empty(postgres_server: Postgres) -> None:
    url = postgres_server.create_database("empty")

    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")

        assert cursor.fetchone() == (0,)
