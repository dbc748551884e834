"""Tests on a real Kubernetes, and what gives them one.

The fixture ``cluster`` uses the cluster of ``KUBECONFIG`` when that is set (``cluster.py`` says what it must have).
Else it makes one of its own:

- ``parts.py`` compiles Kubernetes (``hyperkube/``, one program) and unpacks kubectl; ``image.py`` builds the project's
  image from its ``Dockerfile``. Both keep results in ``$XDG_CACHE_HOME/tempagg-tests`` (``cache.py``).
- ``supervisor.py`` starts ``node.py`` in network, process and mount namespaces of its own: etcd, API server,
  controllers, scheduler, containerd, kubelet and kube-proxy live there, unreachable from and invisible to all else.
  When the tests end, also by SIGKILL, the namespaces end with all that is in them.
- ``forwarding.py`` is the one way in and out: the API server for the tests, the servers of the tests for pods.
"""
