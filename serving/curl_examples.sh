#!/bin/sh
# What a client sends, with nothing but curl: serving/curl_examples.sh CLIP.wav [URL]
set -eu
if [ $# -lt 1 ]; then
    echo "usage: $0 CLIP.wav [http://127.0.0.1:8501]" >&2
    exit 2
fi
clip=$1
url=${2:-http://127.0.0.1:8501}/v1/models/vit_ser

show() {
    printf '\n\n# %s\n' "$*"
}

show "Is it there? Which versions?"
curl --silent --show-error "$url"

show "What goes in, what comes out"
curl --silent --show-error "$url/metadata"

show "A WAV file as it is, one of 8 to 48 kHz, in base64"
printf '{"signature_name": "wav", "instances": [{"b64": "%s"}]}' "$(base64 < "$clip" | tr -d '\n')" |
    curl --silent --show-error --data @- "$url:predict"

show "The same, in columns"
printf '{"signature_name": "wav", "inputs": {"audio_bytes": [{"b64": "%s"}]}}' "$(base64 < "$clip" | tr -d '\n')" |
    curl --silent --show-error --data @- "$url:predict"

show "Samples at 16 kHz in -1..1, here a short click"
curl --silent --show-error --data '{"instances": [[0.0, 0.5, -0.5, 0.25, -0.25, 0.0]]}' "$url:predict"

show "Of the version that carries the label stable"
curl --silent --show-error --data '{"instances": [[0.0, 0.5, -0.5, 0.25, -0.25, 0.0]]}' "$url/labels/stable:predict"

show "When does it listen? Attention, a number a step of time"
curl --silent --show-error \
    --data '{"signature_name": "explain", "instances": [[0.0, 0.5, -0.5, 0.25, -0.25, 0.0]]}' "$url:predict"
echo
