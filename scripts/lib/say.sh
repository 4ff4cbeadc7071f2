# shellcheck shell=bash
# Messages, and the path of the work tree, for every script here. This file is sourced and never run.

# Messages go to stderr. Stdout is for the output that a caller wants to read from a script.
say() { printf '%s\n' "$*" >&2; }
die() {
    say "${0##*/}: $*"
    exit 1
}

# The path of the work tree, so that every script works from any directory.
# shellcheck disable=SC2034 # for the scripts that source this file
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# Prints the last lines of the log of a service that did not start.
show_log() { # NAME FILE
    say "--- the last lines of $1's log ($2)"
    tail -n 25 "$2" >&2 2>/dev/null || say "(no log)"
    say "---"
}
