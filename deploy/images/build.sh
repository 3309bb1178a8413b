#!/usr/bin/env bash
# Builds the images and prints their sizes, with Docker if an engine is running, else with buildah (as root).
#
#     deploy/images/build.sh [api] [cpu] [gpu]      all three by default; gpu needs about 15 GB during the build
#
# BASE sets the base image. Without Docker and BASE, a substitute is built, see base.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
targets=("$@")
[ $# -gt 0 ] || targets=(api cpu gpu)
version=$(sed -nE 's/^version = "(.*)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
STAND_IN=localhost/enrich-base:bookworm

if docker info >/dev/null 2>&1; then
    tool=docker
    base=${BASE:-$(sed -n 's/^ARG BASE=//p' Dockerfile.api)}
    docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base"
elif command -v buildah >/dev/null && [ "$(id -u)" = 0 ]; then
    tool=buildah
    base=${BASE:-$STAND_IN}
    if [ "$base" = "$STAND_IN" ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        command -v debootstrap >/dev/null || { echo "images: debootstrap is needed: apt-get install debootstrap" >&2; exit 2; }
        echo "making a stand-in for the base image ($base) …"
        deploy/images/base.sh "$base"
    fi
else
    echo "images: neither a running Docker engine nor buildah with root was found; apt-get install buildah debootstrap" >&2
    exit 2
fi

build() { # DOCKERFILE TAG OPTION…
    local file=$1 tag=$2
    shift 2
    echo "building $tag …"
    local arguments=(-f "$file" -t "$tag" --build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .)
    if [ "$tool" = docker ]; then
        docker build --quiet "${arguments[@]}"
    else
        # The docker format, because the OCI format has no health check.
        buildah build --isolation chroot --format docker --layers --force-rm --quiet "${arguments[@]}"
    fi >/dev/null
}

bytes_of() { # IMAGE - uncompressed size of its files
    if [ "$tool" = docker ]; then
        docker image inspect --format '{{.Size}}' "$1"
        return
    fi
    local container root
    container=$(buildah from --pull-never "$1")
    root=$(buildah mount "$container")
    du --summarize --bytes --one-file-system "$root" | cut -f 1
    buildah rm "$container" >/dev/null
}

name_of() { case $1 in api) echo asset-enrichment-api:latest ;; cpu | gpu) echo "asset-enrichment-worker:$1" ;; esac; }

for target in "${targets[@]}"; do
    case $target in
    api) build Dockerfile.api "$(name_of api)" ;;
    cpu | gpu) build Dockerfile.worker "$(name_of "$target")" --target "$target" ;;
    *) echo "images: there is no target $target; choose among api, cpu and gpu" >&2; exit 2 ;;
    esac
done

base_bytes=$(bytes_of "$base")
printf '\n%-32s %8s %12s\n' image MB 'over base MB'
printf '%-32s %8d %12s\n' "base" $((base_bytes / 1000000)) -
for target in "${targets[@]}"; do
    size=$(bytes_of "$(name_of "$target")")
    printf '%-32s %8d %12d\n' "$(name_of "$target")" $((size / 1000000)) $(((size - base_bytes) / 1000000))
done
