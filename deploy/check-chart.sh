#!/usr/bin/env bash
# Renders the official Dagster chart with our values, each choice of them, and validates the outcome strictly.
# Helm holds the values against the chart's own schema as it renders. Wants helm, the network, and `make check` done once.
#
#   deploy/check-chart.sh [CHART]     CHART: a chart that is here already, a folder or an archive
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's/^CHART_VERSION=//p' deploy/azure.env.example)
chart=(dagster --repo https://dagster-io.github.io/helm --version "$version")
(($#)) && chart=("$1")
rendered=$(mktemp)
trap 'rm -f "$rendered"' EXIT

check() {
  echo "values: deploy/values.yaml $*"
  helm template dagster "${chart[@]}" --namespace tempagg --values deploy/values.yaml "${@/#/--values=}" > "$rendered"
  .venv/bin/kubernetes-validate -k 1.34 --strict "$rendered"
}

check
check deploy/values/account-key.yaml deploy/values/in-cluster-postgresql.yaml deploy/values/spot.yaml
