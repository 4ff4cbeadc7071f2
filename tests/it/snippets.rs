//! The snippets under `docs/verify`, run by those runtimes that are here.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::commands::{bellwether, said};

#[path = "../../docs/verify/verify.rs"]
mod verify;

const BODY: &str = r#"{"id":"evt_01jz0000000000000000000000","name":"Grüße"}"#;
const ID: &str = "evt_01jz0000000000000000000000";
const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "geheimnis-mit-ümlaut"];

/// The command before the arguments of each snippet.
const RUNTIMES: [(&str, &[&str]); 5] = [
    ("python3", &["docs/verify/verify.py"]),
    ("node", &["docs/verify/verify.js"]),
    ("go", &["run", "docs/verify/verify.go"]),
    ("ruby", &["docs/verify/verify.rb"]),
    ("php", &["docs/verify/verify.php"]),
];

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// `webhook-signature` as the command line makes it.
fn signature(secret: &str, timestamp: u64) -> String {
    let timestamp = timestamp.to_string();
    let arguments = [
        "signature",
        "sign",
        "--json",
        "--secret",
        secret,
        "--id",
        ID,
        "--timestamp",
        &timestamp,
    ];
    let mut sign = bellwether(&arguments, &[]);
    let mut sign = sign.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sign.stdin.take().unwrap().write_all(BODY.as_bytes()).unwrap();
    let (code, out, _) = said(sign.wait_with_output().unwrap());
    assert_eq!(code, 0);
    let headers: serde_json::Value = serde_json::from_str(&out).unwrap();
    headers["webhook-signature"].as_str().unwrap().to_owned()
}

/// True if a snippet says that the request is genuine; `None` without its runtime.
fn judged(runtime: (&str, &[&str]), secret: &str, id: &str, timestamp: u64, signature: &str) -> Option<bool> {
    let (program, arguments) = runtime;
    let mut child = Command::new(program)
        .args(arguments)
        .args([secret, id, &timestamp.to_string(), signature])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // One that refuses an old request does not read the body.
    drop(child.stdin.take().unwrap().write_all(BODY.as_bytes()));
    Some(child.wait().unwrap().success())
}

#[test]
fn every_snippet_takes_what_is_genuine_and_refuses_the_rest() {
    let now = now();
    for secret in SECRETS {
        let right = signature(secret, now);
        let rotated = format!("v1,AAAA {right}");
        let old = signature(secret, now - 3_600);
        let other = signature("another-secret-of-mine", now);
        let cases = [
            (ID, now, &right, true),
            (ID, now, &rotated, true),
            (ID, now, &other, false),
            ("evt_01jz0000000000000000000001", now, &right, false),
            (ID, now - 3_600, &old, false),
            (ID, now - 1, &right, false),
        ];
        for (id, timestamp, signature, is_genuine) in cases {
            for runtime in RUNTIMES {
                let judged = judged(runtime, secret, id, timestamp, signature);
                assert!(
                    judged.is_none_or(|judged| judged == is_genuine),
                    "{} {secret} {id} {timestamp} {signature}",
                    runtime.0
                );
            }
            let timestamp = timestamp.to_string();
            let headers = verify::SignedHeaders {
                id,
                timestamp: &timestamp,
                signature,
            };
            let judged = verify::verify(secret, &headers, BODY.as_bytes(), now);
            assert_eq!(judged, is_genuine, "Rust {secret} {id} {timestamp} {signature}");
        }
    }
    let absent: Vec<&str> = RUNTIMES
        .iter()
        .map(|(program, _)| *program)
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    println!("not run, for want of a runtime: {absent:?}");
}
