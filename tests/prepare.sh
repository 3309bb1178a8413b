#!/usr/bin/env bash
# Brings what the suite needs beside Python packages: a Chromium for the tests of the page.
# Where it cannot be had, those tests are skipped, and say so.
set -u
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing chromium for the tests of the page …"
  log=$(mktemp)
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >"$log" 2>&1 \
    || { echo "chromium could not be installed; the tests of the page will be skipped:"; tail -n 3 "$log"; }
  rm -f "$log"
else
  echo "no chromium here, and no right to install it: the tests of the page will be skipped"
fi
exit 0
