#!/usr/bin/env bash
# Builds a substitute for the base image if no image registry is reachable: Debian bookworm with its Python 3.11.
#
#     deploy/images/base.sh NAME        needs root, buildah and debootstrap (apt-get install buildah debootstrap)
#
# It copies the host's settings for package indexes: certificates, and the settings of apt, pip and proxies. Images built
# from it contain these settings and are for tests only, not for publishing.
set -euo pipefail
name=${1:?the image to make}

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")

packages_of() { apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages'; }
mirror=$(packages_of | awk '$2 == "bookworm" {print $1; exit}')
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" ${mirror:+"$mirror"} >"${TMPDIR:-/tmp}/debootstrap.log" 2>&1 ||
    { echo "debootstrap failed:"; tail -n 5 "${TMPDIR:-/tmp}/debootstrap.log"; exit 1; } >&2

apt-config dump Acquire >"$root/etc/apt/apt.conf.d/90machine"
packages_of | sort -u | awk '{print "deb", $1, $2, "main"}' >"$root/etc/apt/sources.list"
cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
{ # paths of this machine do not exist in the image
    echo "[global]"
    python3 -m pip config list | sed -nE "s/^(global|:env:)\.(index-url|extra-index-url|trusted-host|default-timeout)='(.*)'$/\2 = \3/p" |
        sed -E 's#(^| )file:[^ ]*##g' | grep -E '= *[^ ]' | sort -u
} >"$root/etc/pip.conf" || true

variables=(--env "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" --env "PIP_CERT=/etc/ssl/certs/ca-certificates.crt")
while IFS= read -r pair; do
    variables+=(--env "$pair")
done < <(env | grep -iE '^(https?_proxy|no_proxy|all_proxy|uv_default_index|uv_index|uv_index_url|uv_extra_index_url)=' || true)

# Removes what python:3.11-slim leaves out, too.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/archives/*.deb "$root"/var/log/*.log "$root"/usr/share/doc/* \
    "$root"/usr/share/man/* "$root"/usr/share/locale/*
buildah config "${variables[@]}" --cmd python3 "$container"
buildah umount "$container" >/dev/null
buildah commit --quiet --format docker "$container" "$name" >/dev/null
