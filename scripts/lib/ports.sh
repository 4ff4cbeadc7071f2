# shellcheck shell=bash
# TCP ports on the loopback. Sourced by scripts/services.
#
# perl does the work: bash cannot listen on a port, and perl is on every Debian and Ubuntu and wherever git is.

# True if a server could listen on PORT. Connections of an earlier server may linger for a minute after its end. They
# do not matter, because Kafka and PostgreSQL bind with SO_REUSEADDR, and so does this.
port_is_free() { # PORT
    perl -MIO::Socket::INET -e '
        my %address = (LocalAddr => "127.0.0.1", LocalPort => $ARGV[0]);
        exit(IO::Socket::INET->new(Listen => 1, ReuseAddr => 1, %address) ? 0 : 1)' "$1"
}

# Prints COUNT different free ports. All of them are bound at the same time, which proves that nobody else holds one.
# They lie below the range from which the kernel takes the local ports of outgoing connections. Otherwise a connection
# could take the port of a broker while a test has stopped it.
free_ports() { # COUNT
    perl -MIO::Socket::INET -e '
        my @held;
        for (1 .. 2000) {
            last if @held == $ARGV[0];
            my $port = 20000 + int rand 12000;
            my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => $port);
            push @held, $socket if $socket;
        }
        die "no free ports between 20000 and 32000\n" if @held < $ARGV[0];
        print join(" ", map { $_->sockport } @held), "\n"' "$1"
}
