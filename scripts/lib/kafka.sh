# shellcheck shell=bash
# One private Kafka broker (KRaft: broker and controller in one process) under $base/kafka. Sourced by scripts/services.

kafka_pom=$tree/scripts/kafka/pom.xml
kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$kafka_pom")
kafka_cache=$tree/.local/kafka-$kafka_version

# Maven fetches the jars once for the work tree, and checks their checksums.
fetch_kafka() {
    command -v mvn >/dev/null || die "Maven is missing: run scripts/install-deps services"
    mkdir -p "$kafka_cache"
    exec 7>"$kafka_cache/lock"
    flock 7 # two starts at once fetch once
    if [ ! -d "$kafka_libs" ]; then
        say "fetching Apache Kafka $kafka_version with Maven (45 MB, once)"
        rm -rf "$kafka_libs.part"
        # Maven colours even what is no terminal, and a JVM leaves a folder in /tmp unless told not to.
        MAVEN_OPTS="${MAVEN_OPTS:-} -XX:-UsePerfData" mvn -q -B --strict-checksums -f "$kafka_pom" dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$kafka_libs.part" </dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >&2 ||
            die "Maven could not fetch Kafka"
        # Moved when complete: an interrupted download is not taken for a whole one.
        mv "$kafka_libs.part" "$kafka_libs"
    fi
    exec 7>&-
}

# Sets kafka_libs.
find_kafka_libs() {
    kafka_libs=$kafka_cache/libs
    [ -d "$kafka_libs" ] || fetch_kafka
    if ! "${as_service[@]}" test -r "$kafka_libs"; then
        # A work tree that the services' user cannot enter: see make_base.
        if [ ! -d "$base/kafka/libs" ]; then
            rm -rf "$base/kafka/libs.part"
            cp -r "$kafka_libs" "$base/kafka/libs.part"
            chmod -R a+rX "$base/kafka/libs.part"
            mv "$base/kafka/libs.part" "$base/kafka/libs"
        fi
        kafka_libs=$base/kafka/libs
    fi
}

# Prints the broker's pid while it runs. The command line is compared, because the pid may be another process's by now.
kafka_pid() {
    local pid
    pid=$(cat "$base/kafka/pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$base/kafka/server.properties" && echo "$pid"
}

# Asks for the cluster's metadata over the wire (Metadata v1, correlation id 7, no topics) and wants at least one broker in
# the answer: a broker's port is open well before it is registered and can serve. kcat or an admin client would say no more,
# and would be one more thing to install, or a second of JVM start at every look.
kafka_answers() {
    local answer
    # shellcheck disable=SC2016 # $1 belongs to the inner shell
    answer=$(timeout 3 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf "\0\0\0\026\0\003\0\001\0\0\0\007\0\010services\0\0\0\0" >&3
        head -c 12 <&3 | od -An -v -tu1' bash "$kafka_port" 2>/dev/null) || return 1
    # Four bytes each: length, correlation id, number of brokers.
    read -ra answer <<<"$answer"
    [ ${#answer[@]} -eq 12 ] && [ "${answer[7]}" -eq 7 ] && [ "${answer[11]}" -ge 1 ]
}

kafka_properties() {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$kafka_controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL_SSL://127.0.0.1:$kafka_tls_port,CONTROLLER://127.0.0.1:$kafka_controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL_SSL://127.0.0.1:$kafka_tls_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location=$base/tls/server.both.pem
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_bellwether="bellwether";
log.dirs=$base/kafka/data

# Topics are made by \`bellwether topics create\`; a misspelt one must be an error here too.
auto.create.topics.enable=false

# There is one broker, few clients and few cores: threads beyond them only take turns.
num.network.threads=2
num.io.threads=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
log.cleaner.dedupe.buffer.size=33554432

# A new group would wait 3 s for more members.
group.initial.rebalance.delay.ms=0
# Tests let members die quickly.
group.min.session.timeout.ms=1000
# A broker killed with -9 would wait out 9 s when it comes back.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
PROPERTIES
}

kafka_start() {
    local home=$base/kafka pid
    kafka_properties | write_as_service "$home/server.properties"
    # Codecs unpack native libraries into the temporary folder: one that goes away with the rest.
    "${as_service[@]}" mkdir -p "$home/tmp"
    local run=("${as_service[@]}" "$java" "-Djava.io.tmpdir=$home/tmp" -XX:-UsePerfData
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ"
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info)
    if [ ! -f "$home/data/meta.properties" ]; then
        # A cluster id is 16 random bytes in URL-safe base64; a leading dash would read as an option.
        "${run[@]}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$kafka_libs/*" kafka.tools.StorageTool format --ignore-formatted \
            -t "B$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)" -c "$home/server.properties" >"$home/log" 2>&1 || {
            show_log "kafka's storage tool" "$home/log"
            return 1
        }
    fi
    # Heap and collector as Kafka's own script sets them: the serial collector stops everything for 150 ms now and then.
    run+=(-server -Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35
        -XX:+ExplicitGCInvokesConcurrent)
    # In a session of its own, so Ctrl-C here does not reach it; without the caller's locks.
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

kafka_stop() { # SIGNAL: TERM lets it write its state; KILL is for data about to be removed
    local pid deadline=$((SECONDS + 20))
    pid=$(kafka_pid) || return 0
    kill "-$1" "$pid" 2>/dev/null || true
    while kafka_pid >/dev/null; do
        [ $SECONDS -lt $deadline ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$base/kafka/pid"
}
