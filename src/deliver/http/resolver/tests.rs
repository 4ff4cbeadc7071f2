use super::*;
use crate::deliver::http::pool::Pool;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

fn site(name: &str) -> SiteId {
    name.parse().expect("a site id")
}

#[test]
fn a_mixed_answer_is_used_without_what_is_refused() {
    let lookup: Lookup = Arc::new(|_, _| Box::pin(async { Ok(vec![]) }));
    let resolver = GuardedResolver::new(lookup, Arc::default(), Pool::new(64).spare_handles());
    let mixed = ips(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"]);
    assert_eq!(resolver.judge(&mixed), Ok(ips(&["8.8.8.8", "2606:4700::1111"])));
    let refused = resolver.judge(&ips(&["::1", "10.0.0.1"])).expect_err("refused");
    assert_eq!(refused.result, AttemptResult::AddressRefused);
    let none = resolver.judge(&[]).expect_err("no address");
    assert_eq!(none.result, AttemptResult::Dns);
}

#[tokio::test]
async fn names_that_hang_hold_up_their_own_site_only() {
    let lookup: Lookup = Arc::new(|name, _| {
        Box::pin(async move {
            if name.starts_with("hung") {
                std::future::pending::<()>().await;
            }
            Ok(ips(&["8.8.8.8"]))
        })
    });
    let resolver = GuardedResolver::new(lookup, Arc::default(), Pool::new(64).spare_handles());
    let slow = site("slow.example");
    let names: Vec<String> = (0..NAMES_PER_SITE)
        .map(|number| format!("hung-{number}.test"))
        .collect();
    let mut hung: Vec<_> = names
        .iter()
        .map(|name| Box::pin(resolver.resolve(name, &slow)))
        .collect();
    for one in &mut hung {
        assert!(futures_util::poll!(one).is_pending());
    }
    let mut same_site = Box::pin(resolver.resolve("fine.test", &slow));
    assert!(futures_util::poll!(&mut same_site).is_pending());
    let apart = site("apart.example");
    let mut other_site = Box::pin(resolver.resolve("fine.test", &apart));
    assert!(futures_util::poll!(&mut other_site).is_ready());
    drop(hung.pop());
    assert!(futures_util::poll!(&mut same_site).is_ready());
}
