#!/usr/bin/env bash
# From nothing to a running pipeline on Azure Kubernetes Service, step by step, with az, kubectl and helm.
#
#   deploy/azure.sh [--plan] STEP…     steps in order: deploy/azure.sh steps
#   deploy/azure.sh [--plan] all       every step from group to smoke
#   deploy/azure.sh --plan teardown    with --plan, prints every command and runs none
#
# Each step may be run again: what exists is kept. Names are in deploy/azure.env (see azure.env.example), or in the file
# that AZURE_ENV names.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAMESPACE=tempagg
readonly RELEASE=dagster
readonly CHARTS=https://dagster-io.github.io/helm
readonly LOGS_CONTAINER=compute-logs
readonly CODE_DEPLOYMENT=deployment/dagster-dagster-user-deployments-tempagg
readonly ALL_STEPS=(group storage upload registry build cluster identities database namespace install smoke)
PLAN=''

main() {
  if [[ ${1:-} == --plan ]]; then
    PLAN=yes
    shift
  fi
  (($#)) || { usage; exit 2; }
  load_names
  [[ $1 != all ]] || set -- "${ALL_STEPS[@]}"
  local step
  for step in "$@"; do
    if declare -F "step_${step//-/_}" > /dev/null; then
      announce "$step"
      "step_${step//-/_}"
    else
      echo "unknown step: $step" >&2
      usage >&2
      exit 2
    fi
  done
}

usage() {
  sed -n '4,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

# --- steps -----------------------------------------------------------------------------------------------------------

step_steps() {
  cat << 'TEXT'
  group        resource group
  storage      storage account and its containers                                  [costs: by the GB]
  upload       CSV files to the container
  registry     container registry                                                  [costs: by the day]
  build        images, built in Azure                                              [costs: by the second]
  cluster      AKS with workload identity and network policies                     [costs: by the hour, the most of all]
  identities   managed identities, what they may do, and which pods they are
  database     PostgreSQL for the run history (not with HISTORY=in-cluster)        [costs: by the hour]
  namespace    namespace, Redis, network policies, secrets
  install      Dagster by its Helm chart
  smoke        one file through the queue, to see that all of it works
beside these:
  enqueue      every CSV file of the container on the queue
  watch        what runs now
  ui           Dagster's UI on http://localhost:3000
  spot         a pool of spot nodes, for RUNS_ON=spot                              [costs: by the hour, while runs need it]
  teardown     deletes the resource group and all that is in it, data too
TEXT
}

step_group() {
  run az group create --name "$RESOURCE_GROUP" --location "$REGION"
}

step_storage() {
  local shared_key=false
  [[ $STORAGE_ACCESS == account-key ]] && shared_key=true
  run az storage account create --name "$STORAGE" --resource-group "$RESOURCE_GROUP" --location "$REGION" \
    --sku Standard_ZRS --kind StorageV2 --access-tier Hot --https-only true --min-tls-version TLS1_2 \
    --allow-blob-public-access false --allow-shared-key-access "$shared_key" --allow-cross-tenant-replication false
  run az storage account blob-service-properties update --account-name "$STORAGE" --resource-group "$RESOURCE_GROUP" \
    --enable-delete-retention true --delete-retention-days 14 --enable-versioning true
  local name
  for name in "$CONTAINER" "$LOGS_CONTAINER"; do
    run az storage container-rm create --name "$name" --storage-account "$STORAGE" \
      --resource-group "$RESOURCE_GROUP" --public-access off
  done
}

step_upload() {
  # Who creates an account may not read its blobs yet; it takes a while until a role works everywhere.
  local me scope
  ask me USER-ID az ad signed-in-user show --query id --output tsv
  scope=$(container_scope "$CONTAINER")
  grant User "$me" 'Storage Blob Data Contributor' "$scope"
  retry run az storage blob upload-batch --account-name "$STORAGE" --auth-mode login --destination "$CONTAINER" \
    --source "$CSV_FOLDER" --pattern '*.csv' --overwrite true --no-progress
}

step_registry() {
  run az acr create --name "$REGISTRY" --resource-group "$RESOURCE_GROUP" --location "$REGION" --sku Basic \
    --admin-enabled false
}

# The base comes into the registry first, so that a build takes it by digest and asks no public registry.
step_build() {
  run az acr import --name "$REGISTRY" --resource-group "$RESOURCE_GROUP" \
    --source "docker.io/library/$PYTHON_IMAGE" --image "base/$PYTHON_IMAGE" --force
  local digest target
  ask digest sha256:DIGEST az acr repository show --name "$REGISTRY" --image "base/$PYTHON_IMAGE" \
    --query digest --output tsv
  for target in code platform; do
    run az acr build --registry "$REGISTRY" --resource-group "$RESOURCE_GROUP" --image "tempagg-$target:$(tag)" \
      --target "$target" --platform linux/amd64 --no-logs \
      --build-arg "BASE_IMAGE=$REGISTRY.azurecr.io/base/${PYTHON_IMAGE%%:*}@$digest" --build-arg "REVISION=$(tag)" .
  done
}

step_cluster() {
  if missing az aks show --name "$CLUSTER" --resource-group "$RESOURCE_GROUP" --output none; then
    run az aks create --name "$CLUSTER" --resource-group "$RESOURCE_GROUP" --location "$REGION" --tier free \
      --kubernetes-version "$KUBERNETES_VERSION" --auto-upgrade-channel patch --node-os-upgrade-channel NodeImage \
      --node-vm-size "$NODE_SIZE" --node-count 1 --enable-cluster-autoscaler --min-count 1 --max-count "$NODES_MAX" \
      --network-plugin azure --network-plugin-mode overlay --network-dataplane cilium --network-policy cilium \
      --enable-managed-identity --enable-oidc-issuer --enable-workload-identity --attach-acr "$REGISTRY" --no-ssh-key
  else
    run az aks update --name "$CLUSTER" --resource-group "$RESOURCE_GROUP" \
      --enable-oidc-issuer --enable-workload-identity --attach-acr "$REGISTRY"
  fi
  run az aks get-credentials --name "$CLUSTER" --resource-group "$RESOURCE_GROUP" --overwrite-existing
}

# Two identities: runs read and write data and logs, the platform (webserver, daemon) reads logs.
step_identities() {
  [[ $STORAGE_ACCESS == workload-identity ]] || { note "not with STORAGE_ACCESS=$STORAGE_ACCESS"; return 0; }
  local issuer
  ask issuer https://OIDC-ISSUER az aks show --name "$CLUSTER" --resource-group "$RESOURCE_GROUP" \
    --query oidcIssuerProfile.issuerUrl --output tsv
  identity tempagg-run tempagg-run "$issuer"
  identity tempagg-platform dagster "$issuer"

  local runs platform
  ask runs RUN-PRINCIPAL az identity show --name tempagg-run --resource-group "$RESOURCE_GROUP" \
    --query principalId --output tsv
  ask platform PLATFORM-PRINCIPAL az identity show --name tempagg-platform --resource-group "$RESOURCE_GROUP" \
    --query principalId --output tsv
  local account data logs
  account=$(storage_scope) data=$(container_scope "$CONTAINER") logs=$(container_scope "$LOGS_CONTAINER")
  grant ServicePrincipal "$runs" 'Storage Blob Data Contributor' "$data"
  grant ServicePrincipal "$runs" 'Storage Blob Data Contributor' "$logs"
  grant ServicePrincipal "$platform" 'Storage Blob Data Reader' "$logs"
  # For links to logs in the UI, which are signed for what the identity may read anyway.
  grant ServicePrincipal "$platform" 'Storage Blob Delegator' "$account"
}

step_database() {
  [[ $HISTORY == external ]] || { note "not with HISTORY=$HISTORY"; return 0; }
  if missing az postgres flexible-server show --name "$DATABASE" --resource-group "$RESOURCE_GROUP" --output none; then
    ensure_namespace
    database_secret
    local password
    ask password PASSWORD kubectl --namespace "$NAMESPACE" get secret tempagg-postgresql \
      --output 'go-template={{index .data "postgresql-password" | base64decode}}'
    run_hidden "$password" az postgres flexible-server create --name "$DATABASE" --resource-group "$RESOURCE_GROUP" \
      --location "$REGION" --version 17 --tier Burstable --sku-name Standard_B1ms --storage-size 32 \
      --backup-retention 14 --admin-user dagster --admin-password "$password" --public-access 0.0.0.0 --yes
  fi
  run az postgres flexible-server db create --server-name "$DATABASE" --resource-group "$RESOURCE_GROUP" \
    --name dagster
}

step_namespace() {
  ensure_namespace
  database_secret
  secret_once tempagg-redis REDIS_PASSWORD
  if [[ $STORAGE_ACCESS == account-key ]]; then
    storage_key_secret
  fi
  apply_created configmap tempagg-account --from-literal "AZURE_STORAGE_ACCOUNT=$STORAGE" < /dev/null
  local overlay
  for overlay in $(overlays); do
    run kubectl apply --kustomize "$overlay"
  done
  if [[ $STORAGE_ACCESS == workload-identity ]]; then
    local client
    ask client RUN-CLIENT-ID az identity show --name tempagg-run --resource-group "$RESOURCE_GROUP" \
      --query clientId --output tsv
    run kubectl --namespace "$NAMESPACE" annotate --overwrite serviceaccount tempagg-run \
      "azure.workload.identity/client-id=$client"
  fi
}

step_install() {
  local -a values=(--values deploy/values.yaml) set=()
  local component
  for component in dagsterWebserver dagsterDaemon; do
    set+=(--set "$component.image.repository=$REGISTRY.azurecr.io/tempagg-platform" --set-string "$component.image.tag=$(tag)")
  done
  local code='dagster-user-deployments.deployments[0]'
  set+=(--set "$code.image.repository=$REGISTRY.azurecr.io/tempagg-code" --set-string "$code.image.tag=$(tag)")

  if [[ $HISTORY == in-cluster ]]; then
    values+=(--values deploy/values/in-cluster-postgresql.yaml)
  else
    set+=(--set "postgresql.postgresqlHost=$DATABASE.postgres.database.azure.com")
  fi
  if [[ $STORAGE_ACCESS == workload-identity ]]; then
    local client
    ask client PLATFORM-CLIENT-ID az identity show --name tempagg-platform --resource-group "$RESOURCE_GROUP" \
      --query clientId --output tsv
    set+=(--set-string "serviceAccount.annotations.azure\\.workload\\.identity/client-id=$client")
  else
    values+=(--values deploy/values/account-key.yaml)
    set+=(--set "$code.envSecrets[1].name=tempagg-storage-key")
  fi
  if [[ $RUNS_ON == spot ]]; then
    values+=(--values deploy/values/spot.yaml)
  fi
  run helm upgrade --install "$RELEASE" dagster --repo "$CHARTS" --version "$CHART_VERSION" \
    --namespace "$NAMESPACE" "${values[@]}" "${set[@]}" --wait --timeout 10m
}

step_smoke() {
  run kubectl --namespace "$NAMESPACE" exec "$CODE_DEPLOYMENT" -- tempagg enqueue temperature1.csv
  note 'waiting for temperature1_aggregated.csv'
  retry run az storage blob show --account-name "$STORAGE" --auth-mode login --container-name "$CONTAINER" \
    --name temperature1_aggregated.csv --query '{name: name, bytes: properties.contentLength}' --output table
}

step_enqueue() {
  run kubectl --namespace "$NAMESPACE" exec "$CODE_DEPLOYMENT" -- tempagg enqueue --all
}

step_watch() {
  run kubectl --namespace "$NAMESPACE" exec "$CODE_DEPLOYMENT" -- tempagg queue status
  run kubectl --namespace "$NAMESPACE" get jobs,pods --selector tempagg/role=run
}

step_ui() {
  run kubectl --namespace "$NAMESPACE" port-forward service/dagster-webserver 3000:3000 --address 127.0.0.1
}

step_spot() {
  if missing az aks nodepool show --cluster-name "$CLUSTER" --resource-group "$RESOURCE_GROUP" --name spot \
    --output none; then
    run az aks nodepool add --cluster-name "$CLUSTER" --resource-group "$RESOURCE_GROUP" --name spot --mode User \
      --priority Spot --eviction-policy Delete --spot-max-price -1 --node-vm-size "$NODE_SIZE" \
      --enable-cluster-autoscaler --node-count 0 --min-count 0 --max-count "$SPOT_NODES_MAX"
  fi
}

step_teardown() {
  if [[ -z $PLAN ]]; then
    echo "This deletes the resource group $RESOURCE_GROUP with all that is in it: cluster, images, history, DATA."
    local answer
    read -r -p "Type the name of the resource group to go on: " answer
    [[ $answer == "$RESOURCE_GROUP" ]] || { echo 'Nothing was deleted.'; exit 1; }
  fi
  run az group delete --name "$RESOURCE_GROUP" --yes --no-wait
}

# --- parts of steps --------------------------------------------------------------------------------------------------

identity() {
  local name=$1 service_account=$2 issuer=$3
  run az identity create --name "$name" --resource-group "$RESOURCE_GROUP" --location "$REGION"
  run az identity federated-credential create --name aks --identity-name "$name" \
    --resource-group "$RESOURCE_GROUP" --issuer "$issuer" \
    --subject "system:serviceaccount:$NAMESPACE:$service_account" --audiences api://AzureADTokenExchange
}

grant() {
  local kind=$1 principal=$2 role=$3 scope=$4
  run az role assignment create --assignee-object-id "$principal" --assignee-principal-type "$kind" \
    --role "$role" --scope "$scope"
}

storage_scope() {
  local subscription
  ask subscription SUBSCRIPTION az account show --query id --output tsv
  echo "/subscriptions/$subscription/resourceGroups/$RESOURCE_GROUP/providers/Microsoft.Storage/storageAccounts/$STORAGE"
}

container_scope() {
  local account
  account=$(storage_scope)
  echo "$account/blobServices/default/containers/$1"
}

ensure_namespace() {
  run kubectl apply --filename deploy/manifests/namespace.yaml
}

database_secret() {
  secret_once tempagg-postgresql postgresql-password
}

# A secret with a random password; one that is there is left alone. The password is in no file and no command line.
secret_once() {
  local name=$1 key=$2
  if missing kubectl --namespace "$NAMESPACE" get secret "$name" --output name; then
    random_password | apply_created secret generic "$name" --from-file "$key=/dev/stdin"
  fi
}

storage_key_secret() {
  local key
  ask key ACCOUNT-KEY az storage account keys list --account-name "$STORAGE" --resource-group "$RESOURCE_GROUP" \
    --query '[0].value' --output tsv
  printf %s "$key" | apply_created secret generic tempagg-storage-key --from-file AZURE_STORAGE_ACCESS_KEY=/dev/stdin
}

# The manifest that a `kubectl create` would make, applied: changes what is there, leaves no gap.
apply_created() {
  show kubectl --namespace "$NAMESPACE" create "$@"
  if [[ -n $PLAN ]]; then
    cat > /dev/null
  else
    kubectl --namespace "$NAMESPACE" create "$@" --dry-run=client --output yaml | kubectl apply --filename -
  fi
}

overlays() {
  if [[ $QUEUE == managed ]]; then echo deploy/overlays/managed-redis; else echo deploy/manifests; fi
  if [[ $HISTORY == in-cluster ]]; then echo deploy/overlays/in-cluster-postgresql; fi
}

random_password() {
  if [[ -n $PLAN ]]; then return 0; fi
  LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40 || true
}

# The images' tag: the commit, so that a run's image is known for ever.
tag() {
  git describe --always --dirty --abbrev=12 --exclude '*' 2> /dev/null || echo untracked
}

load_names() {
  local chosen=${AZURE_ENV:-deploy/azure.env} file=deploy/azure.env.example
  [[ ! -f $chosen ]] || file=$chosen
  local name value
  while IFS='=' read -r name value; do
    # What the environment says goes before the file.
    [[ $name =~ ^[A-Z_]+$ && -z ${!name:-} ]] && declare -gr "$name=$value"
  done < "$file"
  [[ -n $PLAN || $file == "$chosen" ]] || {
    echo "Copy deploy/azure.env.example to deploy/azure.env and choose names first." >&2
    exit 2
  }
}

# --- running, or printing --------------------------------------------------------------------------------------------

announce() {
  echo "# --- $1"
}

note() {
  echo "# $*"
}

show() {
  local quoted
  printf -v quoted '%q ' "$@"
  echo "${quoted% }"
}

run() {
  show "$@"
  [[ -n $PLAN ]] || "$@"
}

# As run, without showing a secret among the arguments.
run_hidden() {
  local secret=$1 shown
  shift
  shown=$(show "$@")
  echo "${shown//"$secret"/PASSWORD}"
  [[ -n $PLAN ]] || "$@"
}

# ask VARIABLE PLACEHOLDER COMMAND…: the command's answer; in a plan the placeholder, and the command on standard error
ask() {
  local -n answer=$1
  local placeholder=$2
  shift 2
  show "$@" >&2
  if [[ -n $PLAN ]]; then answer=$placeholder; else answer=$("$@"); fi
}

# missing COMMAND…: true when the command fails, and in every plan, so that it shows what a first run does
missing() {
  show "$@" >&2
  [[ -n $PLAN ]] || ! "$@" > /dev/null 2>&1
}

# Until it succeeds, for ten minutes: roles in Azure take a while to work, pods a while to start.
retry() {
  local attempt
  for attempt in {1..40}; do
    "$@" && return 0
    [[ -n $PLAN ]] && return 0
    note "not yet; attempt $attempt of 40"
    sleep 15
  done
  return 1
}

main "$@"
