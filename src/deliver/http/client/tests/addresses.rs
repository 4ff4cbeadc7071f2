//! The address rules at the moment of the connection.

use super::*;

#[tokio::test]
async fn a_private_address_is_refused_by_name_and_in_the_url() {
    let (address, calls) = counting();
    let strict = client(ClientOptions {
        rules: AddressRules::default(),
        ..options()
    });
    for host in [
        "receiver.test",
        "localhost",
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[::1]",
        "2130706433",
    ] {
        let exchange = strict
            .exchange(&request(&format!("http://{host}:{}/", address.port())))
            .await;
        assert_eq!(
            exchange.result,
            AttemptResult::AddressRefused,
            "{host}: {exchange:?}"
        );
        assert_eq!(exchange.fault(), Fault::Endpoint);
        assert!(!exchange.error.expect("a text").contains("127"), "{host}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_mixed_answer_is_called_without_the_refused_addresses() {
    let (address, calls) = counting();
    let mixed = client(ClientOptions {
        lookup: lookup(|_| {
            Ok(vec![
                ip("10.0.0.1"),
                ip("::1"),
                ip("127.0.0.1"),
                ip("169.254.169.254"),
            ])
        }),
        ..options()
    });
    let exchange = mixed
        .exchange(&request(&format!("http://receiver.test:{}/", address.port())))
        .await;
    assert_ended(&exchange, AttemptResult::Success, Some(200), None);
    assert_eq!(
        (exchange.remote, calls.load(Ordering::SeqCst)),
        (Some(address), 1)
    );
}

#[tokio::test]
async fn a_name_is_judged_again_at_each_look_up() {
    let (address, calls) = counting();
    let asked = AtomicUsize::new(0);
    // 127.0.0.1 is allowed and stands for the public address, 127.0.0.2 is not and stands for the
    // private one; both reach the receiver's host.
    let rebinding = client(ClientOptions {
        rules: AddressRules {
            allow: vec!["127.0.0.1/32".parse().expect("a network")],
            deny: vec![],
        },
        lookup: lookup(move |_| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(vec![if first { ip("127.0.0.1") } else { ip("127.0.0.2") }])
        }),
        ..options()
    });
    let request = request(&format!("http://rebinding.test:{}/", address.port()));
    assert_ended(
        &rebinding.exchange(&request).await,
        AttemptResult::Success,
        Some(200),
        None,
    );
    let second = rebinding.exchange(&request).await;
    assert_eq!(
        (second.result, calls.load(Ordering::SeqCst)),
        (AttemptResult::AddressRefused, 1),
        "{second:?}"
    );
}

#[tokio::test]
async fn of_a_private_target_status_and_timing_are_kept_not_the_body() {
    let (address, _) = counting();
    let exchange = exchange(options(), address).await;
    assert_ended(&exchange, AttemptResult::Success, Some(200), None);
    assert_eq!(exchange.response, None);
    assert!(exchange.phases.response.is_some());
    let rules = options().rules;
    let may_keep = |text: &str| may_keep(&rules, Some(text.parse().expect("an address")));
    assert!(may_keep("8.8.8.8:443") && !may_keep("127.0.0.1:443") && !may_keep("10.0.0.1:443"));
    assert!(!super::may_keep(&rules, None));
}
