//! `signature sign` and `signature verify`: the two signatures of a request, made and checked on
//! this machine.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::exit::{ExitCode, UsageError};
use super::output::{complain, print, print_json};
use super::values::{secret, whole};
use crate::clock;
use crate::deliver::{request, signature};
use crate::domain::secret::Secret;

/// Largest body read; Bellwether's own are far smaller.
const MAX_BODY_BYTES: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum SignatureCommand {
    Sign(SignArgs),
    Verify(VerifyArgs),
}

/// Print the signature headers of a body.
///
/// The body is signed byte for byte: an editor's last line end counts. Without --id only
/// X-Webhook-Signature is printed.
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    signed: SignedArgs,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Check a signature of a body. Exits with 1 if it is wrong.
///
/// A signature that begins with `sha256=` is that of X-Webhook-Signature and needs the secret only.
/// One that begins with `v1,` is that of webhook-signature and needs --id and --timestamp, too.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    signed: SignedArgs,
    /// Value of X-Webhook-Signature or webhook-signature
    #[arg(long, value_name = "SIGNATURE")]
    signature: String,
}

/// Everything that a signature depends on.
#[derive(Debug, Args)]
struct SignedArgs {
    /// Secret of the webhook, as shown when it was made
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Secret,
    /// Value of the header webhook-id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Value of the header webhook-timestamp: seconds since 1970
    #[arg(long, value_name = "SECONDS", requires = "id", value_parser = whole(0_i64..))]
    timestamp: Option<i64>,
    /// File with the body; `-` is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    body: PathBuf,
}

/// Signs or verifies.
pub(super) fn run(command: &SignatureCommand) -> anyhow::Result<ExitCode> {
    match command {
        SignatureCommand::Sign(args) => sign(args),
        SignatureCommand::Verify(args) => verify(args),
    }
}

fn sign(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let body = read_body(&args.signed.body)?;
    let headers = headers(&args.signed, &body, clock::now_ms().div_euclid(1_000));
    if args.json {
        let object: serde_json::Map<String, serde_json::Value> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        print_json(&serde_json::to_string(&object)?)?;
    } else {
        let lines: Vec<String> = headers
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        print(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The headers of a body, signed at `now` (seconds since the Unix epoch) unless a time is given.
fn headers(signed: &SignedArgs, body: &[u8], now: i64) -> Vec<(&'static str, String)> {
    let mut headers = vec![(request::SIGNATURE, signature::plain(&signed.secret, body))];
    if let Some(id) = &signed.id {
        let timestamp = signed.timestamp.unwrap_or(now);
        let standard = signature::standard(&signed.secret, id, timestamp, body);
        headers.extend([
            (request::STANDARD_ID, id.clone()),
            (request::STANDARD_TIMESTAMP, timestamp.to_string()),
            (request::STANDARD_SIGNATURE, standard),
        ]);
    }
    headers
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let check = Check::of(args)?;
    let body = read_body(&args.signed.body)?;
    if check.holds(args, &body) {
        print("the signature is right")?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(check.complaint());
    Ok(ExitCode::FAILURE)
}

/// Kind of the signature that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check<'a> {
    Plain,
    Standard { id: &'a str, timestamp: i64 },
}

impl<'a> Check<'a> {
    fn of(args: &'a VerifyArgs) -> Result<Self, UsageError> {
        let given = args.signature.as_str();
        if given.starts_with(signature::PLAIN_PREFIX) {
            return Ok(Self::Plain);
        }
        // A list of signatures may begin with one of another version.
        if !given
            .split(' ')
            .any(|one| one.starts_with(signature::STANDARD_PREFIX))
        {
            return Err(UsageError(
                "--signature: allowed: `sha256=` and hex digits, or `v1,` and base64".to_owned(),
            ));
        }
        match (&args.signed.id, args.signed.timestamp) {
            (Some(id), Some(timestamp)) => Ok(Self::Standard { id, timestamp }),
            _ => Err(UsageError(
                "a signature that begins with `v1,` also needs --id and --timestamp".to_owned(),
            )),
        }
    }

    fn holds(self, args: &VerifyArgs, body: &[u8]) -> bool {
        let secret = &args.signed.secret;
        match self {
            Self::Plain => signature::verify_plain(secret, body, &args.signature),
            Self::Standard { id, timestamp } => {
                signature::verify_standard(secret, id, &timestamp.to_string(), body, &args.signature)
            }
        }
    }

    fn complaint(self) -> &'static str {
        match self {
            Self::Plain => "the signature is wrong: another secret, or other bytes, were signed",
            Self::Standard { .. } => {
                "the signature is wrong: another secret, id or timestamp, or other bytes, were signed"
            }
        }
    }
}

/// Reads a body from a file, or from stdin for `-`.
fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let place = if path == Path::new("-") {
        io::stdin()
            .take(MAX_BODY_BYTES + 1)
            .read_to_end(&mut body)
            .map(|_| "stdin".to_owned())
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BODY_BYTES + 1).read_to_end(&mut body))
            .map(|_| path.display().to_string())
    };
    let place = place.with_context(|| format!("the body cannot be read from {}", path.display()))?;
    anyhow::ensure!(
        body.len() as u64 <= MAX_BODY_BYTES,
        "{place} has more than {} MiB",
        MAX_BODY_BYTES >> 20
    );
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const STANDARD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const PLAIN: &str = "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c";

    fn args(id: Option<&str>, timestamp: Option<i64>, signature: &str) -> VerifyArgs {
        VerifyArgs {
            signed: SignedArgs {
                secret: Secret::parse(SECRET).expect("a secret"),
                id: id.map(str::to_owned),
                timestamp,
                body: PathBuf::from("-"),
            },
            signature: signature.to_owned(),
        }
    }

    #[test]
    fn headers_are_the_published_known_answers() {
        let signed = args(Some(ID), Some(1_614_265_330), "").signed;
        let expected = [
            ("X-Webhook-Signature", PLAIN),
            ("webhook-id", ID),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", STANDARD),
        ];
        let made = headers(&signed, BODY, 7);
        let made: Vec<(&str, &str)> = made.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(made, expected);
        let now = headers(&args(Some(ID), None, "").signed, BODY, 7);
        assert_eq!(now[2].1, "7");
        assert_eq!(headers(&args(None, None, "").signed, BODY, 7).len(), 1);
    }

    #[test]
    fn a_right_signature_holds_and_a_changed_one_does_not() {
        for (given, holds) in [
            (args(None, None, PLAIN), true),
            (args(None, None, &PLAIN.replace('8', "9")), false),
            (args(Some(ID), Some(1_614_265_330), STANDARD), true),
            (args(Some(ID), Some(1_614_265_331), STANDARD), false),
            (args(Some("msg_x"), Some(1_614_265_330), STANDARD), false),
            (
                args(Some(ID), Some(1_614_265_330), &format!("v1a,xx {STANDARD}")),
                true,
            ),
        ] {
            let check = Check::of(&given).expect("a kind");
            assert_eq!(check.holds(&given, BODY), holds, "{}", given.signature);
        }
    }

    #[test]
    fn what_cannot_be_checked_is_a_wrong_use() {
        for given in [
            args(None, None, STANDARD),
            args(Some(ID), None, STANDARD),
            args(None, None, "x"),
        ] {
            assert!(Check::of(&given).is_err(), "{}", given.signature);
        }
    }
}
