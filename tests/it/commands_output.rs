//! Commands whose output nobody reads, and the answers that the command line gives itself.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::commands::{bellwether, run, said};
use crate::support::app::Deployment;
use crate::support::eventually;

/// The line about a stdout that has no room.
const FULL: &str = "stdout: No space left on device";
/// The line about one that was closed from the start.
const CLOSED: &str = "stdout: it is closed";

/// Exit code and stderr of a command whose reader has gone, of one whose stdout is full, and of one
/// whose stdout is closed from the start.
fn unread(mut command: impl FnMut() -> Command) -> [(i32, String); 3] {
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut into = |stdout| ended(command().stdout(stdout));
    let (gone, full) = (into(Stdio::from(gone)), into(Stdio::from(full)));
    let closed = command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" >&-", "sh"]);
    shell.arg(closed.get_program()).args(closed.get_args());
    for (name, value) in closed.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    [gone, full, ended(shell.stdin(Stdio::null()))]
}

fn ended(command: &mut Command) -> (i32, String) {
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (code, _, err) = said(child.wait_with_output().unwrap());
    (code, err)
}

#[test]
fn an_unread_stdout_ends_a_command_with_1_and_one_line() {
    for arguments in [
        ["keys", "generate"].as_slice(),
        &["openapi"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["serve", "--help"],
        &["--version"],
    ] {
        let ended = unread(|| bellwether(arguments, &[]));
        // Whoever closes a pipe has read enough, and needs no word.
        let wanted = ["".to_owned(), line(FULL), line(CLOSED)].map(|err| (1, err));
        assert_eq!(ended, wanted, "{arguments:?}");
    }
}

fn line(text: &str) -> String {
    format!("bellwether: {text}\n")
}

#[tokio::test]
async fn a_token_that_nobody_has_seen_is_revoked() {
    let deployment = Deployment::create(&[]).await;
    let before = tokens(&deployment);
    let [gone, full, closed] = unread(|| deployment.command(&["token", "create", "--admin"]));
    assert_eq!((gone.0, gone.1.as_str()), (1, ""));
    assert!(
        full.0 == 1 && full.1.starts_with(&format!("bellwether: {FULL}; ")),
        "{full:?}"
    );
    assert!(
        full.1.contains("tok_") && full.1.contains("was revoked"),
        "{full:?}"
    );
    assert_eq!(closed, (1, line(CLOSED)));
    assert_eq!(tokens(&deployment), before);
}

/// The ids of the tokens that are not revoked.
fn tokens(deployment: &Deployment) -> Vec<String> {
    let (_, out, _) = said(deployment.run(&["token", "list", "--json"]));
    let list: Value = serde_json::from_str(&out).unwrap();
    let ids = list["data"].as_array().unwrap().iter();
    ids.map(|token| token["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_made_and_not_shown_is_named_by_its_id() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    let create = [
        "webhook",
        "create",
        "--site",
        "a.example",
        "--endpoint",
        "https://hooks.example.com/x",
        "--events",
        "goal_completion",
    ];
    let [gone, full, closed] = unread(|| bellwether(&create, &variables));
    assert_eq!(closed, (1, line(CLOSED)), "nothing is made that cannot be shown");
    let list = ["webhook", "list", "--site", "a.example", "--json"];
    let (_, out, _) = run(&list, &variables);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    for webhook in list["data"].as_array().unwrap() {
        let id = webhook["id"].as_str().unwrap();
        let command = format!("bellwether webhook secret {id} --site a.example");
        let is_named = |(code, err): &(i32, String)| *code == 1 && err.contains(&command);
        assert!(is_named(&gone) || is_named(&full), "{gone:?} {full:?}");
    }
    let id = list["data"][0]["id"].as_str().unwrap();
    let rotate = ["webhook", "rotate-secret", id, "--site", "a.example"];
    let [gone, full, closed] = unread(|| bellwether(&rotate, &variables));
    assert_eq!(closed, (1, line(CLOSED)));
    for (code, err) in [gone, full] {
        assert!(
            code == 1 && err.contains(&format!("webhook secret {id}")),
            "{err}"
        );
    }
    let register = ["site", "update", "a.example", "--name", "A"];
    let [gone, full, _] = unread(|| bellwether(&register, &variables));
    for (code, err) in [gone, full] {
        assert!(code == 1 && err.contains("a.example is stored"), "{err}");
    }
}

#[tokio::test]
async fn commands_with_services_end_with_1_when_nobody_reads() {
    let deployment = Deployment::create(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    std::fs::write(&file, r#"{"site_id": "a.example", "type": "goal", "name": "x"}"#).unwrap();
    for arguments in [
        ["migrate"].as_slice(),
        &["topics", "create"],
        &["topics", "check"],
        &["sources", "inspect"],
        &["replay", file.to_str().unwrap()],
    ] {
        for (code, err) in unread(|| deployment.command(arguments)) {
            assert_eq!(code, 1, "{arguments:?}: {err}");
            assert!(!err.contains("panic"), "{arguments:?}: {err}");
        }
    }
}

#[tokio::test]
async fn listen_ends_with_1_when_nobody_reads() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("err");
    let mut listen = bellwether(&["listen", "--port", "0"], &[])
        .stdout(closed)
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let address = eventually("it says where it listens", Duration::from_secs(20), || async {
        let text = std::fs::read_to_string(&log).unwrap();
        let rest = text.strip_prefix("listening on http://")?;
        Some(rest.split_once(',')?.0.to_owned())
    })
    .await;
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    assert_eq!(listen.wait().unwrap().code(), Some(1));
    let err = std::fs::read_to_string(&log).unwrap();
    assert!(!err.contains("panic"), "{err}");
}

#[test]
fn a_closed_stderr_is_no_reason_to_panic() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = bellwether(&["check-config", "--config", "/not/there.toml"], &[]);
    let status = command.stdout(Stdio::null()).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn completions_are_a_script_that_the_shell_takes() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = run(&["completions", shell], &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        assert!(out.contains("check-config"), "{shell}: {out}");
    }
    let (_, script, _) = run(&["completions", "bash"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellwether.bash");
    std::fs::write(&file, script).unwrap();
    let status = Command::new("bash").arg("-n").arg(&file).status().unwrap();
    assert!(status.success());
    let (code, out, _) = run(&["completions", "csh"], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let (code, out, err) = run(&["man"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains(".TH bellwether 1") && out.contains("check\\-config"),
        "{out}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(
        run(&["man", "--to", path], &[]),
        (0, String::new(), String::new())
    );
    for page in ["bellwether", "bellwether-serve", "bellwether-topics-check"] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains("Exit codes"), "{page}: {text}");
    }
    let (code, _, err) = run(&["man", "--to", "/not/there"], &[]);
    assert_eq!(code, 1);
    assert!(err.contains("/not/there"), "{err}");
}

#[test]
fn the_version_has_the_revision_if_the_build_named_one() {
    let version = env!("CARGO_PKG_VERSION");
    let wanted = match option_env!("BELLWETHER_REVISION") {
        Some(revision) => format!("bellwether {version} ({revision})\n"),
        None => format!("bellwether {version}\n"),
    };
    assert_eq!(run(&["--version"], &[]), (0, wanted, String::new()));
}
