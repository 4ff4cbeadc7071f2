use std::collections::HashSet;
use std::future::pending;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::thread;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

use super::*;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::http::pool::Pool;
use crate::deliver::request::WebhookRequest;
use crate::deliver::request::tests::{facts, webhook};
use crate::domain::attempt::AttemptResult;

/// Bound of what must not wait for an answer that never comes; the resolver itself gives up later.
const TIMEOUT: Duration = Duration::from_secs(3);

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().expect("addresses")
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A resolver with a name server that has the address 8.8.8.8 for every name, and never answers for
/// the other kind. With `is_silent` it never answers at all.
fn dns(hosts: &str, is_silent: bool) -> Dns {
    dns_and_askers(hosts, is_silent).0
}

/// The same, with the addresses from which the name server was asked.
fn dns_and_askers(hosts: &str, is_silent: bool) -> (Dns, Arc<Mutex<HashSet<SocketAddr>>>) {
    let (server, asked_from) = name_server("127.0.0.1:0", is_silent);
    (dns_of(hosts, [server]), asked_from)
}

fn name_server(address: &str, is_silent: bool) -> (NameServerConfig, Arc<Mutex<HashSet<SocketAddr>>>) {
    let kinds: &[u8] = if is_silent { &[] } else { &[1] };
    name_server_of(address, kinds)
}

/// A name server that answers for these kinds of addresses, and the addresses from which it was
/// asked.
#[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
fn name_server_of(
    address: &str,
    kinds: &'static [u8],
) -> (NameServerConfig, Arc<Mutex<HashSet<SocketAddr>>>) {
    let asked_from = Arc::new(Mutex::new(HashSet::new()));
    let askers = Arc::clone(&asked_from);
    let socket = UdpSocket::bind(address).expect("a socket");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            askers.lock().expect("askers").insert(from);
            // Header, name, kind, class; the name ends with an empty label.
            let name_end = 12
                + query[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .expect("an end");
            let question_end = name_end + 5;
            let kind = query[name_end + 2];
            if !kinds.contains(&kind) {
                continue;
            }
            let mut answer = query[..question_end].to_vec();
            // An answer without an error, with one question and one record and nothing more.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            // Of this kind, for a minute.
            answer.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
            match kind {
                1 => answer.extend_from_slice(&[4, 8, 8, 8, 8]),
                _ => answer.extend_from_slice(b"\x10\x26\x06\x47\0\0\0\0\0\0\0\0\0\0\0\x11\x11"),
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = address.port();
    (NameServerConfig::new(address.ip(), true, vec![udp]), asked_from)
}

fn dns_of(hosts: &str, servers: impl IntoIterator<Item = NameServerConfig>) -> Dns {
    let servers = ResolverConfig::from_parts(None, vec![], servers.into_iter().collect());
    let mut known = Hosts::default();
    known.read_hosts_conf(hosts.as_bytes()).expect("hosts");
    Dns::new(servers, ResolverOpts::default(), known).expect("a resolver")
}

async fn look_up(dns: &Dns, name: &str) -> io::Result<Vec<IpAddr>> {
    let links = links(&Pool::new(64));
    let looking = dns.look_up(name, &links);
    tokio::time::timeout(TIMEOUT, looking).await.expect("in time")
}

fn links(pool: &Pool) -> LookupLinks {
    LookupLinks {
        rules: Arc::default(),
        spare: pool.spare_handles(),
    }
}

#[tokio::test]
async fn a_query_has_one_socket_while_handles_are_scarce() {
    for (is_scarce, fewest, most) in [(true, 2, 2), (false, 3, 6)] {
        let (dns, asked_from) = dns_and_askers("", true);
        let pool = Pool::new(64);
        let _held = pool.handles(if is_scarce { 33 } else { 1 }).await;
        // Within a try, in which the question is asked twice more.
        let links = links(&pool);
        let looking = dns.look_up("hung.example.com", &links);
        let ended = tokio::time::timeout(Duration::from_millis(1_700), looking).await;
        assert!(ended.is_err(), "{ended:?}");
        let sockets = asked_from.lock().expect("askers").len();
        assert!((fewest..=most).contains(&sockets), "{is_scarce}: {sockets}");
    }
}

#[tokio::test]
async fn a_dead_name_server_keeps_no_other_from_being_asked() {
    for is_silent in [[true, false], [false, true]] {
        let (first, _) = name_server("127.0.0.1:0", is_silent[0]);
        let (second, _) = name_server("127.0.0.2:0", is_silent[1]);
        let dns = dns_of("", [first, second]);
        let pool = Pool::new(64);
        let _held = pool.handles(33).await;
        let links = links(&pool);
        let looking = dns.look_up("fine.example.com", &links);
        // A try takes two seconds.
        let found = tokio::time::timeout(Duration::from_millis(1_500), looking).await;
        assert_eq!(found.expect("in time").expect("an answer"), ips(&["8.8.8.8"]));
    }
}

#[tokio::test]
async fn a_name_server_that_answers_for_one_kind_only_is_enough() {
    let dns = dns("", false);
    for name in [
        "fine.example.com",
        "absolute.example.com.",
        "my_host.example.com",
        "_my.example.com",
        "a--b.example.com",
        "xn--bcher-kva.example.com",
    ] {
        assert_eq!(look_up(&dns, name).await.expect(name), ips(&["8.8.8.8"]));
    }
    let long = format!("{}.example.com", "x".repeat(64));
    let refused = look_up(&dns, &long).await.expect_err("too long");
    assert_eq!(refused.to_string(), "it is not a valid host name");
}

#[tokio::test]
async fn a_second_look_up_within_the_ttl_asks_nobody() {
    let (server, asked_from) = name_server_of("127.0.0.1:0", &[1, 28]);
    let dns = dns_of("", [server]);
    let asked = || asked_from.lock().expect("askers").len();
    let found = ips(&["2606:4700::1111", "8.8.8.8"]);
    let mut first = look_up(&dns, "kept.example.com").await.expect("found");
    first.sort_by_key(IpAddr::is_ipv4);
    assert_eq!(first, found);
    let after_first = asked();
    assert!(after_first >= 2, "for each kind of addresses");
    for _ in 0..3 {
        let mut again = look_up(&dns, "kept.example.com").await.expect("found");
        again.sort_by_key(IpAddr::is_ipv4);
        assert_eq!((&again, asked()), (&found, after_first));
    }
    look_up(&dns, "other.example.com").await.expect("found");
    assert!(asked() > after_first, "another name is asked for");
}

#[tokio::test]
async fn a_look_up_that_hangs_is_one_failure_at_its_limit() {
    let dns = Arc::new(dns("", true));
    let options = ClientOptions {
        lookup: Arc::new(move |name, links| {
            let dns = Arc::clone(&dns);
            Box::pin(async move { dns.look_up(&name, &links).await })
        }),
        allow_http: true,
        ..ClientOptions::default()
    };
    let client = WebhookClient::new(options).expect("a client");
    let request = WebhookRequest::build(&webhook("http://hung.example.com/"), &facts("{}"));
    let exchange = client.exchange(&request).await;
    let text = "the host name could not be resolved: the name servers did not answer";
    assert_eq!(
        (exchange.result, exchange.error.as_deref()),
        (AttemptResult::Dns, Some(text))
    );
    // Two tries of two seconds, within the five that a connection has.
    let took = exchange.phases.total.expect("it was measured");
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_name_of_the_hosts_file_needs_no_name_server() {
    let dns = dns("1.1.1.1 four.test My_Host\n2606:4700::1111 six.test\n", true);
    for (name, found) in [
        ("four.test", "1.1.1.1"),
        ("four.test.", "1.1.1.1"),
        ("my_host", "1.1.1.1"),
        ("six.test", "2606:4700::1111"),
    ] {
        assert_eq!(look_up(&dns, name).await.expect(name), ips(&[found]));
    }
}

#[tokio::test]
async fn one_kind_is_enough_only_if_it_may_be_called() {
    let may_call = |ip: &IpAddr| !ip.is_loopback();
    let found = |texts: &'static [&'static str]| async move { Ok(ips(texts)) };
    let enough = both(pending(), found(&["127.0.0.1", "8.8.8.8"]), may_call);
    assert_eq!(enough.await.expect("found"), ips(&["127.0.0.1", "8.8.8.8"]));
    let enough = both(found(&["2606:4700::1111"]), pending(), may_call);
    assert_eq!(enough.await.expect("found"), ips(&["2606:4700::1111"]));
    let refused = both(pending(), found(&["127.0.0.1"]), may_call);
    let waited = tokio::time::timeout(2 * RESOLUTION_DELAY, refused).await;
    assert!(waited.is_err(), "the other kind may have one that may be called");
    let later = async {
        tokio::task::yield_now().await;
        Ok(ips(&["::1"]))
    };
    let mixed = both(later, found(&["8.8.8.8"]), may_call);
    assert_eq!(mixed.await.expect("found"), ips(&["8.8.8.8", "::1"]));
}

#[tokio::test]
async fn an_unknown_kind_says_more_than_a_missing_one() {
    let failed = |kind: io::ErrorKind| async move { Err(kind.into()) };
    for (first, second, told) in [
        (
            io::ErrorKind::NotFound,
            io::ErrorKind::TimedOut,
            io::ErrorKind::TimedOut,
        ),
        (
            io::ErrorKind::TimedOut,
            io::ErrorKind::NotFound,
            io::ErrorKind::TimedOut,
        ),
        (
            io::ErrorKind::NotFound,
            io::ErrorKind::NotFound,
            io::ErrorKind::NotFound,
        ),
    ] {
        let error = both(failed(first), failed(second), |_| true).await;
        assert_eq!(error.expect_err("failed").kind(), told);
    }
    let one = both(
        failed(io::ErrorKind::TimedOut),
        async { Ok(ips(&["8.8.8.8"])) },
        |_| true,
    );
    assert_eq!(one.await.expect("found"), ips(&["8.8.8.8"]));
}

#[test]
fn a_name_that_is_not_absolute_is_looked_for_in_the_search_list() {
    let dns = Dns {
        search: vec![name("a.test."), name("b.test.")],
        ndots: 1,
        ..Dns::default()
    };
    for (given, expected) in [
        ("hook", &["hook.a.test.", "hook.b.test.", "hook."][..]),
        (
            "hook.test",
            &["hook.test.", "hook.test.a.test.", "hook.test.b.test."],
        ),
        ("hook.test.", &["hook.test."]),
        (
            "localhost",
            &["localhost.", "localhost.a.test.", "localhost.b.test."],
        ),
    ] {
        let expected: Vec<Name> = expected.iter().map(|text| name(text)).collect();
        assert_eq!(dns.candidates(given).expect("a name"), expected);
    }
}
