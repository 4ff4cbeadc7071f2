use super::*;

fn from_toml(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bellwether.toml");
    std::fs::write(&path, text).expect("written");
    load(&ConfigSources {
        file: Some(path),
        ..Default::default()
    })
    .map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let config = from_toml("").expect("valid");
    assert_eq!(config.kafka.partitions, 48);
    assert_eq!(config.sources.0[0].topic, "analytics.events");
    assert_eq!(config.webhooks.retry_schedules["default"], ["1s", "2s", "4s"]);
}

#[test]
fn the_example_file_is_valid_and_says_the_defaults() {
    let example = from_toml(include_str!("../../../bellwether.example.toml")).expect("valid");
    assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
}

#[test]
fn a_wrong_key_is_refused_with_its_name_and_the_allowed_ones() {
    let error = from_toml("[kafka]\npartition = 3").expect_err("unknown key");
    assert!(
        error.contains("kafka.partition: unknown key, did you mean `partitions`? allowed: brokers, "),
        "{error}"
    );
}

#[test]
fn a_wrong_value_is_refused_with_name_value_and_allowed_ones() {
    for (text, wanted) in [
        (
            "[kafka]\npartitions = \"many\"",
            vec!["kafka.partitions", "many", "whole number"],
        ),
        (
            "[kafka]\npartitions = 0",
            vec!["kafka.partitions = 0", "1 to 10000"],
        ),
        (
            "[webhooks]\ntimeout = \"soon\"",
            vec!["webhooks.timeout", "soon", "30s"],
        ),
        (
            "[[sources]]\ntopic = \"a\"\nclock = \"wall\"",
            vec!["clock", "wall", "live", "log"],
        ),
        ("[http]\nlisten = \"nowhere\"", vec!["http.listen"]),
        (
            "[webhooks]\ntimeout = \"60s\"",
            vec!["shutdown.grace = 40s", "1m 10s"],
        ),
        (
            "[kafka.properties]\nacks = 1",
            vec!["kafka.properties.\"acks\"", "guarantees"],
        ),
        (
            "[webhooks.retry_schedules]\nquick = []",
            vec!["webhooks.retry_schedules.quick", "1 to 20 delays"],
        ),
        (
            "[webhooks.retry_schedules]\n\"\" = [\"1s\"]",
            vec!["webhooks.retry_schedules.", "names of 1 to 100 characters"],
        ),
    ] {
        let error = from_toml(text).expect_err(text);
        for part in wanted {
            assert!(error.contains(part), "{text}: {error} lacks {part}");
        }
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let error = from_toml("[kafka]\npartitions = 0\nbrokers = \"\"\n[webhooks]\nmax_per_site = 0")
        .expect_err("three problems");
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn unknown_keys_and_wrong_types_are_named_beside_the_rest() {
    let error = from_toml(
        "colour = 1\n[kafka]\npartition = 3\nbroker = \"\"\npartitions = \"many\"\ntopic_prefix = \"a b\"\n\
         [[sources]]\ntopic = \"a\"\nclock = \"wall\"\n[[sources]]\ntopics = \"b\"\n\
         [webhooks]\ntimeout = \"soon\"\nallow_networks = [\"nowhere\", \"neither\"]\nmax_per_site = 0",
    )
    .expect_err("many problems");
    for wanted in [
        "colour: unknown key",
        "kafka.partition: unknown key",
        "kafka.broker: unknown key",
        "kafka.partitions = \"many\"",
        "kafka.topic_prefix = \"a b\"",
        "sources[0].clock = \"wall\": ",
        "sources[1].topics: unknown key",
        "webhooks.timeout = \"soon\": ",
        "webhooks.allow_networks",
        "webhooks.max_per_site = 0",
    ] {
        let lines = error.lines().filter(|line| line.trim().starts_with(wanted));
        assert_eq!(lines.count(), 1, "{wanted}: {error}");
    }
    assert_eq!(error.lines().count(), 1 + 10, "{error}");
    assert_eq!(
        error.matches("(in /").count(),
        10,
        "each names its source: {error}"
    );
}

#[test]
fn variables_of_kubernetes_service_links_are_no_settings() {
    for (name, link) in [
        ("POSTGRES_SERVICE_HOST", true),
        ("POSTGRES_SERVICE_PORT", true),
        ("POSTGRES_SERVICE_PORT_SQL", true),
        ("POSTGRES_PORT", false),
        ("POSTGRES_PORT_5432_TCP", true),
        ("POSTGRES_PORT_5432_TCP_ADDR", true),
        ("API_PORT_X_TCP", false),
        ("PORT", true),
        ("PORT_8080_TCP", true),
        ("PORT_8080_TCP_ADDR", true),
        ("SERVICE_HOST", true),
        ("SERVICE_PORT_HTTP", true),
        ("PORTS", false),
        ("SERVICE", false),
        ("SERVICE__HOST", false),
        ("PORT__X", false),
        ("API_SERVICE_HOST", true),
        ("KAFKA__BROKERS", false),
    ] {
        assert_eq!(is_service_link(name, "5433"), link, "{name}");
    }
    assert!(is_service_link("POSTGRES_PORT", "tcp://10.0.0.1:5432"));
}

#[test]
fn a_variable_whose_level_has_no_name_is_no_setting() {
    for (variable, is_nameless) in [
        ("BELLWETHER_KAFKA__BROKERS", false),
        ("bellwether_kafka__brokers", false),
        ("BELLWETHER_CONFIG", false),
        ("BELLWETHER_KAFKA__BROKERS__", true),
        ("BELLWETHER___KAFKA__BROKERS", true),
        ("BELLWETHER___", true),
        ("BELLWETHER_KAFKA____BROKERS", true),
        ("BELLWETHER_", true),
        ("OTHER_KAFKA____BROKERS", false),
    ] {
        assert_eq!(has_nameless_level(variable), is_nameless, "{variable}");
    }
}

#[test]
fn librdkafka_properties_may_be_dotted_or_quoted() {
    let config = from_toml("[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"ssl.ca.location\" = \"/ca\"\nssl.cipher.suites = \"x\"").expect("valid");
    assert_eq!(config.kafka.properties["security.protocol"], "SSL");
    assert_eq!(config.kafka.properties["ssl.ca.location"], "/ca");
}

#[test]
fn librdkafka_properties_may_be_numbers_in_every_source() {
    let config = from_toml("[kafka.properties]\nsession.timeout.ms = 6000").expect("valid");
    assert_eq!(config.kafka.properties["session.timeout.ms"], "6000");
    let sources = ConfigSources {
        overrides: vec![
            "kafka.properties.session.timeout.ms=6000".into(),
            "kafka.properties.x=-1".into(),
            "kafka.properties.y=0.5".into(),
        ],
        ..Default::default()
    };
    let properties = load(&sources).expect("valid").kafka.properties;
    assert_eq!(properties["session.timeout.ms"], "6000");
    assert_eq!(
        (properties["x"].as_str(), properties["y"].as_str()),
        ("-1", "0.5")
    );
}

#[test]
fn a_flag_wins_over_the_file() {
    let sources = ConfigSources {
        overrides: vec!["kafka.partitions=7".into(), "webhooks.allow_http=true".into()],
        ..Default::default()
    };
    let config = load(&sources).expect("valid");
    assert_eq!(config.kafka.partitions, 7);
    assert!(config.webhooks.allow_http);
}

#[test]
fn no_error_prints_a_value_of_a_section_with_secrets() {
    for text in [
        "postgres = \"postgres://u:hunter2@h/d\"",
        "[postgres]\nurl = [\"hunter2\"]",
        "[postgres]\nurl = postgres://u:hunter2@h/d",
        "[postgres]\nurl = \"mysql://u:hunter2@h\"",
        "[postgres]\nmax_connections = \"hunter2\"",
        "[postgres]\nstatement_timeout = \"hunter2\"",
        "encryption = \"hunter2\"",
        "[encryption]\nkeys = { a = \"hunter2\" }",
        "[encryption]\nkeys = [\"hunter2\"]",
        "[encryption]\nkeys = [1, \"hunter2\"]",
        "[kafka]\nproperties = \"sasl.password=hunter2\"",
        "[kafka.properties]\nsasl.password = [\"hunter2\"]",
        "[kafka.properties]\nsasl.password = hunter2",
        "[kafka.properties]\nacks = \"hunter2\"",
        "[kafka.properties]\nacks = [\"hunter2\"]",
        "[kafka]\nbrokers = \"u:hunter2@h:9092\"",
        "[postgres]\nurl = \"\"\"postgres://u:hunter2@h",
        "[postgres]\nurl = \"a\"\nurl = \"hunter2\"",
        "[postgres]\nmax_connections = 90210",
        "[postgres]\nstatement_timeout = \"90210s\"",
        "[postgres]\nmigrate_on_start = \"hunter2\"",
        "[encryption]\nkey_files = { hunter2 = 1 }",
        "postgres = 90210",
    ] {
        let error = from_toml(text).expect_err(text);
        assert!(
            !error.contains("hunter2") && !error.contains("90210"),
            "{text}: {error}"
        );
    }
    for overridden in [
        "postgres=postgres://u:hunter2@h/d",
        "postgres://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?sslmode=require",
        "encryption.keys={a=hunter2}",
        "encryption.keys:hunter2==",
        "kafka.properties={sasl.password=[hunter2]}",
        "kafka=hunter2",
    ] {
        let sources = ConfigSources {
            overrides: vec![overridden.into()],
            ..Default::default()
        };
        let error = load(&sources).expect_err(overridden).to_string();
        assert!(!error.contains("hunter2"), "{overridden}: {error}");
    }
}

#[test]
fn near_misses_are_told_the_right_way_to_write() {
    for (text, wanted) in [
        ("kafka_brokers = \"h:1\"", "BELLWETHER_KAFKA__BROKERS"),
        ("kafka_brokers = \"h:1\"", "`brokers` of [kafka]"),
        ("postgres = \"postgres://h/d\"", "BELLWETHER_POSTGRES__<KEY>"),
        ("sources = \"events\"", "[[sources]]"),
        ("[webhooks]\ntimeout = 30", "write \"30s\""),
        ("[kafka]\nbrokers = \"broker\"", "host:port"),
        ("[kafka]\nbrokers = \"a:9092,b:0\"", "kafka.brokers = \"b:0\""),
        ("[kafka]\nbrokers = \"http://h:9092\"", "kafka.brokers = "),
        ("[http]\nLISEN = \"h:1\"", "did you mean `listen`?"),
        ("[kafak]\nbrokers = \"h:1\"", "did you mean `kafka`?"),
        (
            "[[sources]]\nclok = \"log\"",
            "sources[0].clok: unknown key, did you mean `clock`?",
        ),
        ("[kafka]\nproperties = \"x\"", "a section, with keys of its own"),
        ("[postgres]\nmax_connections = \"x\"", "allowed: a whole number"),
        (
            "[http]\nlisten = \"127.0.0.1:9464\"",
            "http.listen and admin.listen",
        ),
        (
            "[http]\nlisten = \"0.0.0.0:9464\"",
            "http.listen and admin.listen",
        ),
        ("[telemetry]\nlog = \"warning\"", "telemetry.log = \"warning\""),
        (
            "[telemetry]\nlog = \"bellwether=loud\"",
            "off, error, warn, info, debug, trace",
        ),
        ("[telemetry]\nlog = \"belwether=info\"", "bellwether"),
    ] {
        let error = from_toml(text).expect_err(text);
        assert!(error.contains(wanted), "{text}: {error} lacks {wanted}");
    }
    for good in [
        "info",
        "warn,bellwether::deliver=debug",
        "off",
        "INFO,librdkafka=error",
        "bellwether=trace",
    ] {
        from_toml(&format!("[telemetry]\nlog = \"{good}\"")).expect(good);
    }
    for good in ["h:1", "h:9092,[::1]:9093", "SASL_SSL://broker.example:9093"] {
        from_toml(&format!("[kafka]\nbrokers = \"{good}\"")).expect(good);
    }
    from_toml("[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"").expect("free ports");
}

#[test]
fn an_error_names_key_value_form_and_source() {
    for (text, wanted) in [
        (
            "[http]\nlisten = \"nowhere\"",
            "http.listen = \"nowhere\": allowed: an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\" (in /",
        ),
        (
            "[http]\nlisten = 8080",
            "http.listen = 8080: allowed: an IP address and a port",
        ),
        (
            "[admin]\nlisten = \"localhost:1\"",
            "admin.listen = \"localhost:1\": allowed: an IP address and a port",
        ),
        (
            "[http]\ntrusted_proxies = [\"x\"]",
            "http.trusted_proxies[0] = \"x\": allowed: a list of networks",
        ),
        (
            "[http]\nburst = -1",
            "http.burst = -1: allowed: a whole number from 1 to 1000000 (in /",
        ),
        (
            "[http]\nburst = 0",
            "http.burst = 0: allowed: a whole number from 1 to 1000000 (in /",
        ),
        (
            "[http]\nburst = 99999999999",
            "http.burst = 99999999999: allowed: a whole number from 1 to 1000000 (in /",
        ),
        (
            "[http]\nburst = 0.5",
            "http.burst = 0.5: allowed: a whole number from 1 to 1000000 (in /",
        ),
        (
            "[[postgres]]\nurl = \"hunter2\"",
            "postgres: this is one section: write [postgres], not [[postgres]] (in /",
        ),
        (
            "[[kafka]]",
            "kafka: this is one section: write [kafka], not [[kafka]] (in /",
        ),
        (
            "[sources]\ntopic = \"a\"",
            "sources: this is a list: a [[sources]] block for each topic; as an environment variable: BELLWETHER_SOURCES=",
        ),
        (
            "sources = [\"a\"]",
            "this is a list: a [[sources]] block for each topic; as an environment variable: BELLWETHER_SOURCES=",
        ),
        (
            "[retry_schedules]\ndefault = [\"1s\"]",
            "retry_schedules: unknown key; it is `retry_schedules` of [webhooks], and as an environment variable \
             BELLWETHER_WEBHOOKS__RETRY_SCHEDULES (in /",
        ),
        (
            "[http]\nbrokers = \"a:1\"",
            "http.brokers: unknown key; it is `brokers` of [kafka]",
        ),
        (
            "[webhooks.retry_schedules]\nx = \"1s\"",
            "webhooks.retry_schedules.x = \"1s\": allowed: a list of durations",
        ),
        (
            "[webhooks]\nallow_http = \"yes\"",
            "webhooks.allow_http = \"yes\": allowed: true or false (in /",
        ),
        (
            "[[sources]]\nformat = \"natve\"",
            "sources[0].format = \"natve\": did you mean `native`? allowed: native, ",
        ),
        (
            "[kafka]\nbrokers = [\"a:1\"]",
            "kafka.brokers = [\"a:1\"]: allowed: a text, host:port, ",
        ),
        (
            "[[sources]]\nclock = true",
            "sources[0].clock = true: allowed: live, log (in /",
        ),
        (
            "[operator]\nurl = \"x\"",
            "operator.url: unknown key, did you mean `webhook_url`?",
        ),
        (
            "[telemetry]\nformat = \"json\"",
            "telemetry.format: unknown key, did you mean `log_format`?",
        ),
        (
            "[sites]\nlink_template = \"x\"",
            "sites.link_template = \"x\": allowed: a URL",
        ),
        (
            "[encryption]\nkeys = \"hunter2\"",
            "encryption.keys[0] = \"…\": allowed: <id>:<base64 of 32 bytes>, as `bellwether keys generate` prints it (in /",
        ),
        (
            "[kafka.properties]\n\"acks\" = \"hunter2\"",
            "own value of this setting (in /",
        ),
        (
            "[kafka.properties]\nrequest_required_acks = \"hunter2\"",
            "own value of this setting (in /",
        ),
        (
            "[http",
            "bellwether.toml: TOML parse error at line 1, column 6: invalid table header: expected",
        ),
        (
            "http.listen = ",
            "bellwether.toml: TOML parse error at line 1, column 15: a value is missing",
        ),
        (
            "[postgres]\nmax_connections = \"hunter2\"",
            "postgres.max_connections = \"…\": allowed: a whole number from 2 to 1000 (in /",
        ),
    ] {
        let error = from_toml(text).expect_err(text);
        assert!(error.contains(wanted), "{text}: {error} lacks {wanted}");
        assert_eq!(error.lines().count(), 2, "{text}: {error}");
    }
    let error = from_toml("[telemetry]\nlog = \"info,,\"").expect_err("empty parts");
    assert_eq!(error.matches("telemetry.log").count(), 1, "{error}");
    let sources = ConfigSources {
        overrides: vec!["http.burst=0".into(), "http.listen=x".into()],
        ..Default::default()
    };
    let error = load(&sources).expect_err("two problems").to_string();
    assert_eq!(error.matches("(in --set)").count(), 2, "{error}");
}

#[test]
fn passwords_do_not_show_in_debug_output() {
    let config = from_toml("[kafka.properties]\nsasl.password = \"hunter2\"\n[postgres]\nurl = \"postgres://u:hunter2@h/d\"\n[encryption]\nkeys = [\"a:hunter2\"]").expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
}
