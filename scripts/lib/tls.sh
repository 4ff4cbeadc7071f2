# shellcheck shell=bash
# Certificates for the encrypted listeners of Kafka and PostgreSQL, under $base/tls. Sourced by scripts/services.
#
# A new authority signs one certificate for the servers, because clients refuse the authority's own certificate as a
# server's. Only clients that are given DEV_TLS_CA trust the authority. It is removed with the folder.

make_certificates() {
    local home=$base/tls
    [ ! -f "$home/ca.pem" ] || return 0
    command -v openssl >/dev/null || die "openssl is missing: run scripts/install-deps services"
    # The folder is made under another name and renamed when it is complete, so that an interruption leaves no half of
    # it.
    rm -rf "$home" "$home.new"
    install -d -m 755 "${service_owner[@]}" "$home.new"
    # shellcheck disable=SC2016 # $1 belongs to the inner shell
    "${as_service[@]}" sh -ec '
        cd "$1"
        umask 077
        key="-newkey rsa:2048 -noenc"
        openssl req -x509 $key -days 3650 -subj "/CN=bellwether development" -keyout ca.key -out ca.pem
        openssl req $key -subj /CN=localhost -keyout server.key -out server.csr
        printf "subjectAltName=IP:127.0.0.1,DNS:localhost\n" >extensions
        openssl x509 -req -days 3650 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out server.pem
        # Kafka reads the key and the certificate from one file.
        cat server.key server.pem >server.both.pem
        rm ca.key server.csr extensions
        chmod 644 ca.pem' sh "$home.new" >"$base/tls.log" 2>&1 || {
        show_log openssl "$base/tls.log"
        return 1
    }
    rm -f "$base/tls.log"
    mv "$home.new" "$home"
}
