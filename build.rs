//! The revision that `--version` and `build_info` name. `BELLWETHER_REVISION` wins; a build with
//! optimisations asks git otherwise. (Debug builds do not: each commit would compile everything
//! anew.)

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script by its environment"
)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BELLWETHER_REVISION");
    let is_named = std::env::var_os("BELLWETHER_REVISION").is_some();
    if is_named || std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    // A copy without its history may lie within another repository.
    if !Path::new(".git").exists() {
        return;
    }
    // Written at each commit and each checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo:rustc-env=BELLWETHER_REVISION={revision}");
    }
}

/// Output of git, if it has any.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
