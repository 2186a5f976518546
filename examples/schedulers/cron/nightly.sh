#!/bin/sh
# Run a command, such as a night, and try it again only if it ended with exit code 3 (an input is late, or another
# process holds the lease):  nightly.sh TRIES SECONDS COMMAND…
tries=$1 seconds=$2
shift 2
while :; do
    "$@"
    code=$?
    tries=$((tries - 1))
    if [ "$code" -ne 3 ] || [ "$tries" -le 0 ]; then
        exit "$code"
    fi
    sleep "$seconds"
done
