# shellcheck shell=bash
# One private PostgreSQL server under $base/postgres. Sourced by scripts/services.

# Sets postgres_bin to the release that made the data folder, or to the newest one if there is no data folder.
choose_postgres() {
    if [ -z "${DEV_POSTGRES_BIN:-}" ] && [ -f "$base/postgres/data/PG_VERSION" ]; then
        postgres_bin=/usr/lib/postgresql/$(cat "$base/postgres/data/PG_VERSION")/bin
    else
        postgres_bin=$(find_postgres || true)
    fi
}

need_postgres() {
    [ ! -x "$postgres_bin/postgres" ] || return 0
    [ ! -d "$base/postgres/data" ] || die "these data need $postgres_bin, which is not installed any more" \
        "(scripts/services wipe removes them)"
    die "no PostgreSQL 14 or later under /usr/lib/postgresql: run scripts/install-deps services"
}

postgres_is_running() {
    [ -f "$base/postgres/data/postmaster.pid" ] &&
        "${as_service[@]}" "$postgres_bin/pg_ctl" status -D "$base/postgres/data" >/dev/null 2>&1
}

postgres_url() { echo "postgres://bellwether@127.0.0.1:$postgres_port/bellwether"; }

postgres_answers() {
    "$postgres_bin/pg_isready" -q -t 2 -d "$(postgres_url)" &&
        [ "$(PGCONNECT_TIMEOUT=3 "$postgres_bin/psql" -XAtqc 'SELECT 1' "$(postgres_url)" 2>/dev/null)" = 1 ]
}

# True if it refuses a connection only because it has as many as it takes. Its messages are in English.
postgres_is_full() {
    local refusal
    "$postgres_bin/pg_isready" -q -t 2 -d "$(postgres_url)" || return 1
    ! refusal=$(PGCONNECT_TIMEOUT=3 "$postgres_bin/psql" -XAtqc 'SELECT 1' "$(postgres_url)" 2>&1) || return 1
    [[ $refusal =~ 'too many clients'|'too many connections'|'remaining connection slots' ]]
}

# Makes the data folder with the role and the database. Single-user mode opens no port meanwhile. The folder is made
# under another name and renamed when it is complete, so that an interruption leaves no half of it.
make_cluster() {
    local home=$base/postgres
    rm -rf "$home/data.new"
    # There is nothing to lose yet, so nothing is synced to disk. The server itself runs with fsync on.
    "${as_service[@]}" "$postgres_bin/initdb" --no-sync -D "$home/data.new" -U postgres --auth=trust \
        --encoding=UTF8 --locale=C >"$home/initdb.log" 2>&1 || {
        show_log initdb "$home/initdb.log"
        return 1
    }
    # The role is no superuser, so that a statement that needs more rights than production grants fails here too.
    # CREATEDB lets each test make a database of its own, and the template is its own to put the schema there.
    printf '%s\n' 'CREATE ROLE bellwether LOGIN CREATEDB' 'CREATE DATABASE bellwether OWNER bellwether' \
        'ALTER DATABASE template1 OWNER TO bellwether' \
        "CREATE ROLE guarded LOGIN PASSWORD 'guarded'" |
        "${as_service[@]}" "$postgres_bin/postgres" --single -D "$home/data.new" postgres >>"$home/initdb.log" 2>&1
    # Over TCP only that role may log in, and one with a password, for tests. Over the socket any role may, because only
    # the services' user can enter its folder.
    printf '%s\n' 'local all all trust' 'host all bellwether 127.0.0.1/32 trust' \
        'host all guarded 127.0.0.1/32 scram-sha-256' | write_as_service "$home/data.new/pg_hba.conf"
    mv "$home/data.new" "$home/data"
}

postgres_start() {
    local home=$base/postgres socket=$base/postgres/socket
    [ -f "$home/data/PG_VERSION" ] || make_cluster || return 1
    "${as_service[@]}" mkdir -p -m 700 "$socket"
    # The path of a unix socket must fit in 107 bytes. In a deep work tree there is no socket, and TCP does everything.
    [ ${#socket} -le 80 ] || socket=
    write_as_service "$home/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $postgres_port
unix_socket_directories = '$socket'
max_connections = 200
shared_buffers = 128MB
fsync = on
ssl = on
ssl_cert_file = '$base/tls/server.pem'
ssl_key_file = '$base/tls/server.key'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
CONF
    rm -f "$home/log"
    # pg_ctl detaches the server from the terminal, so that Ctrl-C does not reach it. The server does not inherit the
    # locks of with-services and services (8 and 9), which must end with their owners.
    "${as_service[@]}" "$postgres_bin/pg_ctl" start -s -w -t 60 -D "$home/data" -l "$home/log" >/dev/null 2>&1 8>&- 9>&- || {
        show_log postgres "$home/log"
        return 1
    }
}

postgres_wait() {
    local deadline=$((SECONDS + 30))
    until postgres_answers || postgres_is_full; do
        if [ $SECONDS -ge $deadline ]; then
            say "postgres runs but does not answer on 127.0.0.1:$postgres_port"
            show_log postgres "$base/postgres/log"
            return 1
        fi
        sleep 0.2
    done
}

postgres_stop() { # MODE: `fast` keeps the data consistent; `immediate` is for data that are about to be removed
    postgres_is_running || return 0
    "${as_service[@]}" "$postgres_bin/pg_ctl" stop -s -w -t 30 -m "$1" -D "$base/postgres/data" ||
        "${as_service[@]}" "$postgres_bin/pg_ctl" stop -s -w -t 10 -m immediate -D "$base/postgres/data"
}
