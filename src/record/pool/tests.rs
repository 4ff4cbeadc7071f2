use super::*;

#[test]
fn a_wrong_url_is_refused_without_its_password() {
    let settings = PoolSettings {
        url: "postgres://user:hunter2@host:notaport/db".into(),
        max_connections: 1,
        statement_timeout: Duration::from_secs(1),
        acquire_timeout: Duration::from_secs(1),
        lock_timeout: Duration::from_secs(1),
    };
    let wrong = connect_options(&settings).expect_err("no port");
    assert!(!wrong.to_string().contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn one_slow_statement_distrusts_no_pool() {
    let start = clock::monotonic();
    let at = |seconds| start + Duration::from_secs(seconds);
    let epoch = ConnectionEpoch::default();
    epoch.answered(at(5));
    // Asked before another one answered: that statement was slow.
    epoch.lose(at(4), at(10));
    assert!(epoch.holds_since(at(1)));
    // Asked after the last answer: nothing answers any more.
    epoch.lose(at(6), at(12));
    assert!(!epoch.holds_since(at(11)) && epoch.holds_since(at(13)));
    epoch.answered(at(14));
    assert!(!epoch.holds_since(at(11)), "what was lost stays lost");
}
