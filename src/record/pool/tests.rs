use super::*;

#[test]
fn a_wrong_url_is_refused_without_its_password() {
    let settings = PoolSettings {
        url: "postgres://user:hunter2@host:notaport/db".into(),
        max_connections: 1,
        statement_timeout: Duration::from_secs(1),
        lock_timeout: Duration::from_secs(1),
    };
    let wrong = connect_options(&settings).expect_err("no port");
    assert!(!wrong.to_string().contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}
