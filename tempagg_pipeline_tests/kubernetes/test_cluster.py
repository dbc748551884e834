"""The cluster itself: what every other test here builds on."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from tempagg_pipeline_tests.kubernetes.cluster import Cluster
from tempagg_pipeline_tests.kubernetes.manifests import job
from tempagg_pipeline_tests.servers.processes import wait_until


@pytest.fixture
def web_port() -> Iterator[int]:
    """Port on this machine's loopback of a server that answers every request."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_pod_of_the_projects_image_runs_to_its_end(cluster: Cluster, namespace: str) -> None:
    command = ["python", "-c", "import tempagg_pipeline.definitions; print('done')"]
    cluster.apply(job("import", cluster.image, command), namespace)

    cluster.kubectl("wait", "-n", namespace, "--for=condition=complete", "job/import", "--timeout=120s")

    assert cluster.kubectl("logs", "-n", namespace, "job/import") == "done\n"


def test_a_pod_reaches_a_server_that_a_test_published(cluster: Cluster, namespace: str, web_port: int) -> None:
    fetch = f"from urllib.request import urlopen; print(urlopen('http://{cluster.publish(web_port)}').read().decode())"
    cluster.apply(job("fetch", cluster.image, ["python", "-c", fetch]), namespace)

    cluster.kubectl("wait", "-n", namespace, "--for=condition=complete", "job/fetch", "--timeout=60s")

    assert cluster.kubectl("logs", "-n", namespace, "job/fetch") == "hello\n"


def test_a_killed_pod_fails(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("sleep", cluster.image, ["sleep", "600"]), namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=jsonpath={.status.ready}=1", "job/sleep", "--timeout=60s")
    (pod,) = cluster.get("pods", namespace)

    cluster.kill_pod(namespace, pod["metadata"]["name"])

    cluster.kubectl("wait", "-n", namespace, "--for=condition=failed", "job/sleep", "--timeout=60s")


def test_no_pod_starts_while_no_node_takes_one(cluster: Cluster, namespace: str) -> None:
    with cluster.unschedulable():
        cluster.apply(job("wait", cluster.image, ["true"]), namespace)
        wait_until(
            lambda: "Unschedulable" in str(cluster.get("pods", namespace)), "the scheduler to give up on the pod"
        )

    cluster.kubectl("wait", "-n", namespace, "--for=condition=complete", "job/wait", "--timeout=60s")
