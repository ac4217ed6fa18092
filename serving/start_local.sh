#!/bin/sh
# Starts TensorFlow Serving from this machine's tensorflow_model_server, with the configs of this folder.
# serving/start_local.sh [REST_PORT [GRPC_PORT]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v tensorflow_model_server > /dev/null; then
    echo "error: no tensorflow_model_server here; use docker compose --file $here/compose.yaml up," \
        "or keras-vitser serve $here/models/vit_ser" >&2
    exit 2
fi
if [ ! -d "$here/models/vit_ser/1" ]; then
    echo "error: there is no version 1: keras-vitser export runs/RUN --to $here/models/vit_ser --version 1" >&2
    exit 2
fi

config=$(mktemp)
trap 'rm -f "$config"' EXIT
sed "s|\"/models/|\"$here/models/|" "$here/models.config" > "$config"
tensorflow_model_server \
    --rest_api_port="${1:-8501}" \
    --port="${2:-8500}" \
    --model_config_file="$config" \
    --allow_version_labels_for_unavailable_models=true \
    --monitoring_config_file="$here/monitoring.config" \
    --rest_api_timeout_in_ms=30000
