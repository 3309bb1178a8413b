#!/bin/sh
# Writes .env with random passwords for docker-compose.yml. Never overwrites an existing file.
set -eu
cd "$(dirname "$0")/../.."
if [ -e .env ]; then
    echo "there is an .env already; remove it if its passwords are to be made anew (the volumes keep the old ones)" >&2
    exit 1
fi
umask 077
word() { od -An -v -tx1 -N 24 /dev/urandom | tr -d ' \n'; }
while IFS= read -r line; do
    case $line in
    \#*=) printf '%s\n' "$line" ;;
    *=) printf '%s%s\n' "$line" "$(word)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env.new
mv .env.new .env
echo "wrote .env"
