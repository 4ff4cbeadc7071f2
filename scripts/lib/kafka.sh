# shellcheck shell=bash
# One private Kafka broker (KRaft: broker and controller in one process) under $base/kafka, alone or one of a cluster.
# Sourced by scripts/services.

kafka_pom=$tree/scripts/kafka/pom.xml
kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$kafka_pom")
kafka_cache=$tree/.local/kafka-$kafka_version

# Fetches the jars once for the work tree. Maven compares their checksums.
fetch_kafka() {
    command -v mvn >/dev/null || die "Maven is missing: run scripts/install-deps services"
    mkdir -p "$kafka_cache"
    exec 7>"$kafka_cache/lock"
    flock 7 # of two starts at once, the second one waits and finds the jars
    if [ ! -d "$kafka_libs" ]; then
        say "fetching Apache Kafka $kafka_version with Maven (45 MB, once)"
        rm -rf "$kafka_libs.part"
        # sed removes the colours, which Maven writes even where there is no terminal. Without UsePerfData the JVM
        # leaves no folder in /tmp.
        MAVEN_OPTS="${MAVEN_OPTS:-} -XX:-UsePerfData" mvn -q -B --strict-checksums -f "$kafka_pom" dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$kafka_libs.part" </dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >&2 ||
            die "Maven could not fetch Kafka"
        # Renamed when it is complete, so that an interrupted download is not taken for a whole one.
        mv "$kafka_libs.part" "$kafka_libs"
    fi
    exec 7>&-
}

# Sets kafka_libs.
find_kafka_libs() {
    kafka_libs=$kafka_cache/libs
    [ -d "$kafka_libs" ] || fetch_kafka
    if ! "${as_service[@]}" test -r "$kafka_libs"; then
        # The services' user cannot enter the work tree, as make_base explains. It gets a copy.
        if [ ! -d "$base/kafka/libs" ]; then
            rm -rf "$base/kafka/libs.part"
            cp -r "$kafka_libs" "$base/kafka/libs.part"
            chmod -R a+rX "$base/kafka/libs.part"
            mv "$base/kafka/libs.part" "$base/kafka/libs"
        fi
        kafka_libs=$base/kafka/libs
    fi
}

# Prints the broker's pid while it runs. The command line is compared, because another process may have the pid by now.
kafka_pid() {
    local pid
    pid=$(cat "$base/kafka/pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$base/kafka/server.properties" && echo "$pid"
}

# True if the broker can serve. Asks for the cluster's metadata (Metadata v1, correlation id 7, no topics) and expects
# at least one broker in the answer, of a cluster all of them, because the port is open well before the broker is registered. kcat would tell no
# more and would have to be installed; Kafka's own tools take a second to start each time.
kafka_answers() {
    local answer
    # shellcheck disable=SC2016 # $1 belongs to the inner shell
    answer=$(timeout 3 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf "\0\0\0\026\0\003\0\001\0\0\0\007\0\010services\0\0\0\0" >&3
        head -c 12 <&3 | od -An -v -tu1' bash "$kafka_port" 2>/dev/null) || return 1
    # The answer starts with three numbers of four bytes: its length, the correlation id, and the number of brokers.
    read -ra answer <<<"$answer"
    [ ${#answer[@]} -eq 12 ] && [ "${answer[7]}" -eq 7 ] && [ "${answer[11]}" -ge 1 ] &&
        [ "${answer[11]}" -ge ${#kafka_quorum[@]} ]
}

# Prints the users of the encrypted listener, whose names are their passwords: one that may do everything, those of
# deploy/kafka/acls.md, and one without any right.
kafka_users() {
    local user
    for user in bellwether bellwether-{route,detect,deliver,admin,inspect,dead-letter,replay,stranger}; do
        printf ' user_%s="%s"' "$user" "$user"
    done
}

# Prints the controllers as each broker has to know them.
kafka_voters() {
    local index voters=()
    for index in "${!kafka_controllers[@]}"; do
        voters+=("$((index + 1))@127.0.0.1:${kafka_controllers[index]}")
    done
    (IFS=,; echo "${voters[*]}")
}

# Prints a cluster's id: 16 bytes in URL-safe base64. It starts with a letter, because a dash would be taken for an
# option. The brokers of a cluster, which share nothing but their controllers' ports, make it of these.
kafka_cluster_id() {
    if [ ${#kafka_quorum[@]} -eq 0 ]; then
        echo "B$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
    else
        echo "B$(echo "${kafka_quorum[*]}" | md5sum | cut -c 1-20)A"
    fi
}

kafka_properties() {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$kafka_node
controller.quorum.voters=$(kafka_voters)
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL_SSL://127.0.0.1:$kafka_tls_port,CONTROLLER://127.0.0.1:$kafka_controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL_SSL://127.0.0.1:$kafka_tls_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location=$base/tls/server.both.pem
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$(kafka_users);
# Tests of access rules use the other users; these two may do everything.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:bellwether
log.dirs=$base/kafka/data

# \`bellwether topics create\` makes the topics. A misspelt name must be an error here too.
auto.create.topics.enable=false

# One broker with few clients on few cores gains nothing from more threads.
num.network.threads=2
num.io.threads=2
offsets.topic.replication.factor=${#kafka_controllers[@]}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=${#kafka_controllers[@]}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
log.cleaner.dedupe.buffer.size=33554432

# Otherwise a new group waits 3 s for more members.
group.initial.rebalance.delay.ms=0
# Allows the short session timeouts of the tests.
group.min.session.timeout.ms=1000
# Otherwise a broker that was killed with -9 waits for 9 s when it comes back.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
PROPERTIES
}

kafka_start() {
    local home=$base/kafka heap=1g pid
    kafka_properties | write_as_service "$home/server.properties"
    # Compression libraries are unpacked into the temporary folder. This one is removed with the rest.
    "${as_service[@]}" mkdir -p "$home/tmp"
    local run=("${as_service[@]}" "$java" "-Djava.io.tmpdir=$home/tmp" -XX:-UsePerfData
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ"
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info)
    if [ ! -f "$home/data/meta.properties" ]; then
        "${run[@]}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$kafka_libs/*" kafka.tools.StorageTool format --ignore-formatted \
            -t "$(kafka_cluster_id)" -c "$home/server.properties" >"$home/log" 2>&1 || {
            show_log "kafka's storage tool" "$home/log"
            return 1
        }
    fi
    # Heap and collector are set as in Kafka's own script; several brokers on one machine get less. The serial collector would stop everything for 150 ms now
    # and then.
    [ ${#kafka_quorum[@]} -eq 0 ] || heap=384m
    run+=(-server "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35
        -XX:+ExplicitGCInvokesConcurrent)
    # The broker has a session of its own, so that Ctrl-C does not reach it. It does not inherit the locks of
    # with-services and services (8 and 9), which must end with their owners.
    setsid "${run[@]}" -cp "$kafka_libs/*" kafka.Kafka "$home/server.properties" \
        >"$home/log" 2>&1 </dev/null 8>&- 9>&- &
    pid=$!
    echo "$pid" >"$home/pid"
    disown "$pid"
}

kafka_wait() {
    local deadline=$((SECONDS + 90))
    until kafka_answers; do
        if ! kafka_pid >/dev/null; then
            say "kafka stopped while starting"
            show_log kafka "$base/kafka/log"
            return 1
        elif [ $SECONDS -ge $deadline ]; then
            say "kafka does not answer on 127.0.0.1:$kafka_port after 90 s"
            show_log kafka "$base/kafka/log"
            return 1
        fi
        sleep 0.2
    done
}

kafka_stop() { # SIGNAL: TERM lets it write its state; KILL is for data that are about to be removed
    local pid deadline=$((SECONDS + 20))
    pid=$(kafka_pid) || return 0
    kill "-$1" "$pid" 2>/dev/null || true
    while kafka_pid >/dev/null; do
        [ $SECONDS -lt $deadline ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$base/kafka/pid"
}
