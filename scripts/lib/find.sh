# shellcheck shell=bash
# Finds Java and PostgreSQL. Sourced by scripts/services, which runs them, and by scripts/install-deps, which installs
# them.

as_service=() # a prefix that runs a command as the services' user; choose_user in place.sh sets it

# Prints the path of a java that is 17 or later and that the services' user can run. JAVA_HOME is tried first, then
# PATH, then Debian's packages.
find_java() {
    local java version
    for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [ -n "$java" ] || continue
        version=$("${as_service[@]}" "$java" -XX:-UsePerfData -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
        if [ "${version:-0}" -ge 17 ]; then
            echo "$java"
            return
        fi
    done
    return 1
}

# Prints the folder of the newest PostgreSQL server that is 14 or later. PATH is not searched, because it may name a
# wrapper, an older release, or a client without a server.
find_postgres() {
    local version newest=13
    if [ -n "${DEV_POSTGRES_BIN:-}" ]; then
        echo "$DEV_POSTGRES_BIN"
        return
    fi
    for version in /usr/lib/postgresql/*; do
        version=${version##*/}
        if [[ $version =~ ^[0-9]+$ ]] && [ "$version" -gt "$newest" ] && [ -x "/usr/lib/postgresql/$version/bin/initdb" ]; then
            newest=$version
        fi
    done
    [ "$newest" -gt 13 ] && echo "/usr/lib/postgresql/$newest/bin"
}
