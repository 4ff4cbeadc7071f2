use super::*;

fn refusal(rest: &str) -> String {
    let url = format!("postgres://user:hunter2@{rest}");
    let text = parse(&url).expect_err(rest).to_string();
    assert!(!text.contains("hunter"), "{rest}: {text}");
    text
}

#[test]
fn a_wrong_part_of_the_url_is_named_without_its_value() {
    for (rest, wanted) in [
        (
            "host:notaport/db",
            "cannot be read (the port is no number from 1 to 65535)",
        ),
        (
            "host:99999/db",
            "cannot be read (the port is no number from 1 to 65535)",
        ),
        ("/db", "cannot be read (it names no host)"),
        ("host/db?sslmode=hunter3", "`sslmode` is wrong; allowed: disable"),
        ("host/db?port=hunter3", "`port` is wrong"),
        ("host/db?hostaddr=hunter3", "`hostaddr` is wrong"),
        ("host/db?passwrd=hunter3", "did you mean `password`?"),
        ("host/db?ssl_mode=require", "did you mean `sslmode`?"),
        ("host/db?hunter3@=x", "a parameter of it is unknown; allowed: "),
        (
            "host/db?sslrootcert=/nowhere/hunter3",
            "`sslrootcert` names cannot be read: No such file",
        ),
        (
            "host/db?sslcert=/nowhere/hunter3",
            "`sslcert` names cannot be read: No such file",
        ),
    ] {
        let text = refusal(rest);
        assert!(text.contains(wanted), "{rest}: {text}");
    }
}

#[test]
fn a_file_without_a_certificate_is_refused_before_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let url = format!(
        "postgres://u@h/db?sslmode=verify-full&sslrootcert={}",
        path.display()
    );
    for (text, is_taken) in [
        ("hunter2", false),
        ("a comment\n-----BEGIN CERTIFICATE-----\n", true),
    ] {
        std::fs::write(&path, text).expect("written");
        let read = parse(&url);
        assert_eq!(read.is_ok(), is_taken, "{text}");
        let error = read.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(is_taken || error.contains("`sslrootcert` names cannot be read: it holds nothing in PEM"));
    }
}

#[test]
fn a_password_with_a_question_mark_is_not_shown() {
    let text = parse("postgres://user:12?hunter3@host/db")
        .expect_err("no URL")
        .to_string();
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn a_password_that_ends_early_is_no_host() {
    for password in ["P@hunter2/1", "P@hunter2/1#x", "hunter2#x", "P@hunter2#"] {
        let url = format!("postgres://u:{password}@127.0.0.1:5432/db");
        let text = parse(&url).expect_err(password).to_string();
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("%40") || text.contains("port"), "{text}");
    }
    let escaped = parse("postgres://u:P%40ss%2F1%23x@127.0.0.1:5432/db").expect("a URL");
    assert_eq!(escaped.get_host(), "127.0.0.1");
}

#[test]
fn parameters_of_other_clients_are_left_out_and_named() {
    let url = "postgres://u:p@h/db?sslmode=require&channel_binding=require&options[a]=b&connect_timeout=5";
    let options = parse(url).expect("a URL");
    assert_eq!(options.get_database(), Some("db"));
    assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
    assert_eq!(options.get_options(), Some("-c a=b"));
    assert_eq!(ignored_parameters(url), ["channel_binding", "connect_timeout"]);
}
