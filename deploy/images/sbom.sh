#!/usr/bin/env bash
# Writes build/sbom-IMAGE.json with the Python packages of each built image, as CycloneDX. Needs cyclonedx-py.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
scratch=$(mktemp -d)
container=
# shellcheck disable=SC2329  # called by the trap
leave() {
    [ -z "$container" ] || release
    rm -rf "$scratch"
}
trap leave EXIT

if docker info >/dev/null 2>&1; then
    exists() { docker image inspect "$1" >/dev/null 2>&1; }
    unpack() { # IMAGE - extracts its files and sets root to their folder
        container=$(docker create "$1") && root=$scratch/root
        mkdir -p "$root"
        docker cp --quiet "$container:/opt" "$root/opt"
    }
    release() { docker rm "$container" >/dev/null; rm -rf "$root"; container=; }
else
    exists() { buildah inspect --type image "$1" >/dev/null 2>&1; }
    unpack() { container=$(buildah from --pull-never "$1") && root=$(buildah mount "$container"); }
    release() { buildah rm "$container" >/dev/null; container=; }
fi

found=0
for image in asset-enrichment-api:latest asset-enrichment-worker:cpu asset-enrichment-worker:gpu; do
    exists "$image" || continue
    unpack "$image"
    # cyclonedx-py asks an interpreter for its package folders; this script prints those of the extracted image.
    packages=$(echo "$root"/opt/enrich/lib/python3*/site-packages)
    printf '#!/bin/sh\necho '\''["%s/opt/app", "%s"]'\''\n' "$root" "$packages" >"$scratch/python"
    chmod +x "$scratch/python"
    name=build/sbom-$(echo "${image%:latest}" | tr : -).json
    cyclonedx-py environment --output-reproducible --output-format JSON --output-file "$name" "$scratch/python"
    python3 -c 'import json, sys; print(sys.argv[1] + ":", len(json.load(open(sys.argv[1]))["components"]), "packages")' "$name"
    release
    found=1
done
[ "$found" = 1 ] || { echo "sbom: no image was found; \`make images\` builds them" >&2; exit 2; }
