//! Commands whose output nobody reads, and the answers that the command line gives itself.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::commands::{bellwether, run, said};
use crate::support::app::Deployment;
use crate::support::eventually;

/// Exit code and stderr of a command whose stdout is closed, and of one whose stdout is full.
fn unread(mut command: impl FnMut() -> Command) -> [(i32, String); 2] {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    [Stdio::from(closed), Stdio::from(full)].map(|stdout| {
        let child = command().stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let (code, _, err) = said(child.wait_with_output().unwrap());
        (code, err)
    })
}

#[test]
fn a_closed_or_full_stdout_ends_a_command_quietly_with_1() {
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
        assert_eq!(ended, [(1, String::new()), (1, String::new())], "{arguments:?}");
    }
    // It says a note on stderr before, and nothing after.
    for (code, err) in unread(|| bellwether(&["check-config"], &[])) {
        assert_eq!((code, err.lines().count()), (1, 1), "{err}");
        assert!(err.contains("no encryption key"), "{err}");
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
        &["token", "create", "--admin"],
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
