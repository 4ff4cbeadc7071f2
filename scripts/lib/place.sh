# shellcheck shell=bash
# Chooses the user that the services run as, and the folder of their files. Sourced by scripts/services.
#
# PostgreSQL refuses to run as root, and Kafka has no reason to. If root starts the services, they run as the owner of
# the files in DIR. If there are none yet, they run as DEV_SERVICES_USER, as `postgres` (which PostgreSQL's package
# creates) or as `nobody`. If anybody else starts them, they run as that user.

service_owner=()

choose_user() { # after find_base
    [ "$(id -u)" -eq 0 ] || return 0
    local uid gid user=${DEV_SERVICES_USER:-postgres}
    if [ -d "$base/postgres" ]; then
        read -r uid gid <<<"$(stat -c '%u %g' "$base/postgres")"
    else
        [ -n "${DEV_SERVICES_USER:-}" ] || id postgres >/dev/null 2>&1 || user=nobody
        uid=$(id -u "$user")
        gid=$(id -g "$user")
    fi
    [ "$uid" -ne 0 ] || die "the services would run as root, which PostgreSQL refuses; DEV_SERVICES_USER names somebody else"
    # Used as a prefix: "${as_service[@]}" COMMAND. Unlike su and runuser, setpriv becomes the command, so that the
    # pid is the service's own.
    as_service=(setpriv "--reuid=$uid" "--regid=$gid" --clear-groups --)
    service_owner=(-o "$uid" -g "$gid")
}

# Writes stdin to FILE as the services' user. `tee` would also print it.
# shellcheck disable=SC2016 # $1 belongs to the inner shell
write_as_service() { "${as_service[@]}" sh -c 'cat >"$1"' sh "$1"; } # FILE

# Sets `base`, the folder of the services' own files. It is DIR itself, unless the services' user cannot get there, as
# in a work tree below a home that only its owner can enter. Then it is a folder in /var/tmp, whose path is kept in
# DIR/place until `down` removes it.
find_base() { # DIR
    base=$1
    # The folder may be gone, if somebody cleaned /var/tmp.
    if [ -f "$1/place" ] && [ -d "$(cat "$1/place")" ]; then base=$(cat "$1/place"); fi
}

make_base() { # DIR, after choose_user
    [ ! -d "$base/postgres" ] || return 0
    rm -f "$1/place"
    install -d -m 700 "${service_owner[@]}" "$base/kafka" "$base/postgres"
    if ! "${as_service[@]}" test -w "$base/postgres"; then
        rmdir "$base/kafka" "$base/postgres"
        base=$(mktemp -d /var/tmp/bellwether-dev.XXXXXX)
        printf '%s\n' "$base" >"$1/place"
        chmod 755 "$base"
        install -d -m 700 "${service_owner[@]}" "$base/kafka" "$base/postgres"
    fi
}

# Removes the folder that make_base put outside DIR. True if there was one.
drop_base_outside() { # DIR
    [ -f "$1/place" ] || return 1
    local outside
    outside=$(cat "$1/place")
    case $outside in
        /var/tmp/bellwether-dev.*) rm -rf -- "$outside" ;;
    esac
    rm -f "$1/place"
}
