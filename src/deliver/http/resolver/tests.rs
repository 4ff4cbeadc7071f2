use super::*;

#[test]
fn a_mixed_answer_is_used_without_what_is_refused() {
    let ips = |texts: &[&str]| -> Vec<IpAddr> {
        texts
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect()
    };
    let rules = AddressRules::default();
    let mixed = ips(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"]);
    assert_eq!(
        judge(&rules, &mixed).expect("some are public"),
        ips(&["8.8.8.8", "2606:4700::1111"])
    );
    assert!(matches!(
        judge(&rules, &ips(&["::1", "10.0.0.1"])),
        Err(ResolveError::Refused(_))
    ));
    assert!(matches!(judge(&rules, &[]), Err(ResolveError::NoAddress)));
}
