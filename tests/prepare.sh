#!/usr/bin/env bash
# Brings what the suite needs beside Python packages: a Chromium for the tests of the page, Prometheus for those of the
# dashboard and the alerts, and the npm package with which the README's Node receiver verifies. Where one cannot be had,
# its tests are skipped, and say so.
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

prepare_prometheus() {
  command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing prometheus for the tests of the dashboard and the alerts …"
    log=$(mktemp)
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; } >"$log" 2>&1 \
      || { echo "prometheus could not be installed; the tests of the alerts will be skipped:"; tail -n 3 "$log"; }
    rm -f "$log"
  else
    echo "no prometheus here, and no right to install it: the tests of the alerts will be skipped"
  fi
}

prepare_node() {
  command -v npm >/dev/null 2>&1 || { echo "no npm here: the test of the Node receiver will be skipped"; return; }
  [ node/node_modules -nt node/package-lock.json ] && return
  npm ci --prefix node --no-audit --no-fund --silent >/dev/null 2>&1 && touch node/node_modules \
    || echo "the npm package standardwebhooks could not be installed; the test of the Node receiver will be skipped"
}

prepare_chromium
prepare_prometheus
prepare_node
exit 0
