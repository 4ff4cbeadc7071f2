use axum::http::HeaderValue;

use super::received::{ReceivedRequest, SignatureCheck, TOLERANCE_SECONDS};
use super::*;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::request::WebhookRequest;
use crate::deliver::request::tests::{facts, webhook};
use crate::domain::address::AddressRules;
use crate::domain::attempt::AttemptResult;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    listen: ListenOptions,
}

fn options(arguments: &[&str]) -> Result<ListenOptions, clap::Error> {
    let arguments = std::iter::once("listen").chain(arguments.iter().copied());
    <Cli as clap::Parser>::try_parse_from(arguments).map(|cli| cli.listen)
}

fn receiver(arguments: &[&str]) -> ListenReceiver {
    ListenReceiver::new(options(arguments).expect("arguments"))
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn receive(receiver: &ListenReceiver, attempt: u32, change: impl FnOnce(&mut HeaderMap)) -> ReceivedRequest {
    let mut incoming = incoming(attempt);
    change(&mut incoming.headers);
    receiver.receive(incoming, facts("").now_ms + 250)
}

fn incoming(attempt: u32) -> Incoming {
    let mut facts = facts("{\"a\":1}");
    facts.attempt = attempt;
    let request = WebhookRequest::build(&webhook("https://example.com/"), &facts);
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name = axum::http::HeaderName::try_from(name).expect("a name");
        headers.insert(name, value.reveal().parse().expect("a value"));
    }
    Incoming {
        method: "POST".to_owned(),
        path: "/hook".to_owned(),
        headers,
        body: request.body,
    }
}

#[test]
fn both_signatures_are_verified_with_any_of_the_secrets() {
    use SignatureCheck::{Missing, NotChecked, Ok, Wrong};
    let verified = |arguments: &[&str], change: fn(&mut HeaderMap)| {
        let received = receive(&receiver(arguments), 1, change);
        (received.signature, received.standard_signature)
    };
    let unchanged: fn(&mut HeaderMap) = |_| {};
    let (right, wrong) = (["--secret", SECRET], ["--secret", "another-secret-12"]);
    assert_eq!(verified(&[], unchanged), (NotChecked, NotChecked));
    assert_eq!(verified(&right, unchanged), (Ok, Ok));
    assert_eq!(verified(&wrong, unchanged), (Wrong, Wrong));
    assert_eq!(verified(&[wrong, right].concat(), unchanged), (Ok, Ok));
    let older: fn(&mut HeaderMap) = |headers| {
        headers.insert("webhook-timestamp", HeaderValue::from_static("1"));
    };
    assert_eq!(verified(&right, older), (Ok, Wrong));
    let unsigned: fn(&mut HeaderMap) = HeaderMap::clear;
    assert_eq!(verified(&right, unsigned), (Missing, Missing));
    assert_eq!(verified(&[], unsigned), (NotChecked, NotChecked));
}

#[test]
fn a_signature_without_its_headers_says_which_is_missing() {
    let checked = |without: &[&str]| {
        let received = receive(&receiver(&["--secret", SECRET]), 1, |headers| {
            for name in without {
                headers.remove(*name);
            }
        });
        (received.signature, received.standard_signature)
    };
    for (without, expected) in [
        (&["webhook-id"][..], SignatureCheck::MissingId),
        (&["webhook-timestamp"], SignatureCheck::MissingTimestamp),
        (
            &["webhook-id", "webhook-timestamp"],
            SignatureCheck::MissingIdAndTimestamp,
        ),
        (&["webhook-id", "webhook-signature"], SignatureCheck::Missing),
    ] {
        assert_eq!(checked(without), (SignatureCheck::Ok, expected), "{without:?}");
    }
}

#[test]
fn a_right_signature_of_another_time_is_old_or_early() {
    let verify = include_str!("../../../docs/verify/verify.rs");
    let told = format!("TOLERANCE_SECONDS: u64 = {TOLERANCE_SECONDS};");
    assert!(verify.contains(&told), "receivers are told something else");
    let receiver = receiver(&["--secret", SECRET]);
    let checks = [0, 300, 301, 1_000_000_000, -300, -301].map(|late| {
        let incoming = incoming(1);
        let received = receiver.receive(incoming, facts("{}").now_ms + late * 1_000);
        (received.standard_signature, received.standard_signature.is_ok())
    });
    use SignatureCheck::{Early, Ok, Old};
    let (right, wrong) = (Some(true), Some(false));
    assert_eq!(
        checks,
        [
            (Ok, right),
            (Ok, right),
            (Old, wrong),
            (Old, wrong),
            (Ok, right),
            (Early, wrong)
        ]
    );
    let summary = receiver.summary();
    assert!(
        summary.contains("wrong signatures 0, unsigned 0, old or early 3\n"),
        "{summary}"
    );
}

#[test]
fn a_signed_timestamp_that_is_no_number_is_said_to_be_none() {
    let received = receive(&receiver(&["--secret", SECRET]), 1, |headers| {
        headers.insert("webhook-timestamp", HeaderValue::from_static("today"));
    });
    assert_eq!(received.standard_signature, SignatureCheck::Wrong);
    let check = SignatureCheck::of_standard(
        &[
            ("webhook-id", "a"),
            ("webhook-timestamp", "today"),
            ("webhook-signature", "v1,"),
        ]
        .into_iter()
        .map(|(name, value)| {
            (
                axum::http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect(),
        true,
        0,
        || true,
    );
    assert_eq!(check, SignatureCheck::BadTimestamp);
}

#[test]
fn answers_follow_the_plan() {
    for (arguments, expected) in [
        (&[][..], [200, 200, 200]),
        (&["--status", "410"], [410, 410, 410]),
        (&["--fail", "2"], [500, 500, 200]),
        (&["--fail", "2", "--status", "503"], [503, 503, 200]),
        (&["--fail-first", "1"], [500, 200, 200]),
    ] {
        let receiver = receiver(arguments);
        let statuses = [1, 2, 3].map(|attempt| receive(&receiver, attempt, |_| {}).status);
        assert_eq!(statuses, expected, "{arguments:?}");
    }
    let receiver = receiver(&["--fail", "1"]);
    assert_eq!(
        [1, 1, 2].map(|attempt| receive(&receiver, attempt, |_| {}).status),
        [500, 500, 200]
    );
}

#[test]
fn repeats_are_noticed_and_the_summary_adds_up() {
    let receiver = receiver(&["--secret", "another-secret-12", "--fail", "1"]);
    let repeated = [1, 2, 2].map(|attempt| receive(&receiver, attempt, |_| {}).repeated);
    assert_eq!(repeated, [false, false, true]);
    assert_eq!(
        receiver.summary(),
        "requests 3, deliveries 1, repeated 1, wrong signatures 3, unsigned 0\nevents: goal_completion 3\nanswers: 200 2, 500 1"
    );
    receive(&receiver, 3, HeaderMap::clear);
    assert!(
        receiver
            .summary()
            .starts_with("requests 4, deliveries 1, repeated 1, wrong signatures 3, unsigned 1")
    );
}

#[test]
fn bad_arguments_are_refused() {
    for arguments in [
        &["--status", "99"][..],
        &["--status", "600"],
        &["--delay", "soon"],
        &["--port", "70000"],
        &["--secret", "short"],
        &["--host", "localhost."],
    ] {
        assert!(options(arguments).is_err(), "{arguments:?}");
    }
    let shown = format!("{:?}", options(&["--secret", SECRET]).expect("arguments"));
    assert!(!shown.contains("MfKQ"), "{shown}");
}

#[tokio::test]
async fn the_clients_own_requests_verify_and_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let arguments = [
        "--secret",
        SECRET,
        "--status",
        "503",
        "--retry-after",
        "9",
        "--json",
    ];
    let listening = Arc::new(Listener::new(options(&arguments).expect("arguments")));
    let client = WebhookClient::new(ClientOptions {
        rules: AddressRules {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            deny: vec![],
        },
        allow_http: true,
        ..ClientOptions::default()
    })
    .expect("a client");
    let request = WebhookRequest::build(&webhook(&url), &facts("{\"a\":1}"));
    let exchange = tokio::select! {
        served = serve(listener, Arc::clone(&listening)) => panic!("it stopped: {served:?}"),
        exchange = client.exchange(&request) => exchange,
    };
    assert_eq!(
        (exchange.result, exchange.retry_after.as_deref()),
        (AttemptResult::ServerError, Some("9"))
    );
    assert!(
        listening
            .receiver
            .summary()
            .starts_with("requests 1, deliveries 1, repeated 0, wrong signatures 0, unsigned 0")
    );
}

#[test]
fn arguments_that_would_do_nothing_are_refused() {
    let forward = "--forward http://127.0.0.1:1/ --site s --webhook wh_00000000000000000000000007";
    let refused = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        options(&words).map_or(true, |options| options.check().is_err())
    };
    for alone in [
        "--events visitor_spike",
        "--field name=x",
        "--body x.json",
        "--public-url http://x.example/",
        "--webhook wh_00000000000000000000000007",
    ] {
        assert!(refused(alone), "{alone}");
    }
    for beside in [
        "--events visitor_spike",
        "--field name=x",
        "--body x.json",
        "--public-url http://x.example/",
        "--host 127.0.0.1",
        "--port 9000",
        "--fail 1",
        "--fail-first 1",
        "--status 200",
        "--retry-after 1",
        "--delay 0s",
        "--secret a-secret-of-mine --secret another-secret",
    ] {
        assert!(refused(&format!("{forward} {beside}")), "{beside}");
    }
    for taken in ["", "--site s --events visitor_spike --field name=x", forward] {
        assert!(!refused(taken), "{taken}");
    }
}
