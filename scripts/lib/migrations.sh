# shellcheck shell=bash
# Applies migrations/ without the program. Sourced by scripts/with-services.

# Prints psql's commands for all migrations, which run as in the program's migrator: in the order of their numbers, each
# in a transaction unless its first line says otherwise. The migrator finds them noted as its own: a later
# `bellwether migrate` compares their checksums and has nothing to do.
migrations_for_psql() {
    local file version title checksum
    # The migrator makes this table itself.
    echo 'CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
        installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL);'
    while IFS= read -r file; do
        version=${file%%_*} title=${file#*_}
        title=${title%.sql}
        checksum=$(sha384sum <"$tree/migrations/$file")
        local begin='BEGIN;' commit='COMMIT;'
        if [[ $(head -n 1 "$tree/migrations/$file") == '-- no-transaction'* ]]; then begin='' commit=''; fi
        printf '%s\n' "$begin" "\\i 'migrations/$file'" \
            "INSERT INTO _sqlx_migrations VALUES ($version, '${title//_/ }', now(), true, '\\x${checksum%% *}', 0);" "$commit"
    done < <(find "$tree/migrations" -maxdepth 1 -name '[0-9]*_*.sql' ! -name '*.down.sql' -printf '%f\n' | sort -n)
}

# Applies all migrations to an empty database.
apply_migrations() { # URL
    migrations_for_psql | (cd "$tree" && PGOPTIONS='-c client_min_messages=warning' "$(find_postgres)/psql" -X -q \
        -v ON_ERROR_STOP=1 "$1" >/dev/null) || die "a migration failed (above)"
}
