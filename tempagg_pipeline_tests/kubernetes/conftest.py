"""The cluster that all tests here share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tempagg_pipeline_tests.kubernetes.cluster import Cluster, cluster


@pytest.fixture(scope="session", name="cluster")
def cluster_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the whole test run; tests take a namespace of their own."""
    with cluster(Path(tmp_path_factory.mktemp("kubernetes"))) as shared:
        yield shared


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that enforces the Pod Security Standard "restricted"."""
    with cluster.namespace() as name:
        yield name
