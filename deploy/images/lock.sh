#!/usr/bin/env bash
# Writes the lock files of the images, with hashes: subsets of requirements.lock, and build tools. Called by `make lock`.
#
#     UV=.venv/bin/uv UV_VERSION=0.13.9 deploy/images/lock.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${UV:?the path of uv}" "${UV_VERSION:?the version of uv that builds the images}"

resolve() { # NAME OPTION… - with the versions of requirements.lock
    local name=$1
    shift
    "$UV" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
        --constraint requirements.lock --custom-compile-command "make lock" --output-file "deploy/images/$name.lock" "$@"
}

resolve api --extra api --extra tracing pyproject.toml
resolve worker-gpu --extra worker --extra tracing pyproject.toml
resolve worker-cpu --extra worker --extra tracing --excludes deploy/images/cpu-excludes.txt pyproject.toml
printf 'uv==%s\nsetuptools\n' "$UV_VERSION" | resolve build -
