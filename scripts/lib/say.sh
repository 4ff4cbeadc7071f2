# shellcheck shell=bash
# What every script here says and where it stands. Sourced, never run.

# Messages go to stderr: stdout belongs to whatever a caller wants to read from a script.
say() { printf '%s\n' "$*" >&2; }
die() {
    say "${0##*/}: $*"
    exit 1
}

# The work tree, so that every script works from any directory.
# shellcheck disable=SC2034 # for the scripts that source this file
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# The last lines of a service's log, when it did not come up.
show_log() { # NAME FILE
    say "--- the last lines of $1's log ($2)"
    tail -n 25 "$2" >&2 2>/dev/null || say "(no log)"
    say "---"
}
