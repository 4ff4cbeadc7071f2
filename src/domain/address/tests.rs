use proptest::prelude::*;

use super::*;
use std::net::IpAddr;

fn rules(allow: &[&str], deny: &[&str]) -> AddressRules {
    let nets = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("a network"))
            .collect()
    };
    AddressRules {
        allow: nets(allow),
        deny: nets(deny),
    }
}

fn check(rules: &AddressRules, ip: &str) -> Verdict {
    rules.check(ip.parse().expect("an address"))
}

#[test]
fn global_unicast_is_public_up_to_the_edges_of_every_block() {
    let none = AddressRules::default();
    let ips = "\
            1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
            128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 \
            192.0.3.0 192.0.0.9 192.0.0.10 192.31.196.1 192.167.255.255 192.169.0.0 198.17.255.255 \
            198.20.0.0 223.255.255.255 2000:: 2001:200::1 2001:1::1 2001:4:112::53 2003::1 \
            2606:4700:4700::1111 2620:4f:8000::1 3ffe:ffff::1 3fff:1000::";
    for ip in ips.split_whitespace() {
        assert_eq!(check(&none, ip), Verdict::Public, "{ip}");
    }
}

#[test]
fn every_special_range_is_refused_from_first_to_last_address() {
    let none = AddressRules::default();
    let ips = "\
            0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
            127.255.255.255 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.11 \
            192.0.0.170 192.0.2.1 192.88.99.1 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 \
            203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255 :: ::1 ::2 ::127.0.0.1 \
            ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:10.0.0.1 64:ff9b::10.0.0.1 \
            64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff:ffff:ffff:ffff:ffff 100::1 100:0:0:1::1 \
            200::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::4 2001:2::1 2001:10::1 \
            2001:1ff::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 3fff:fff::1 4000::1 5f00::1 \
            fc00::1 fdff:ffff::1 fe80::1 febf::1 fec0::1 feff::1 ff02::1";
    for ip in ips.split_whitespace() {
        assert!(matches!(check(&none, ip), Verdict::Refused(_)), "{ip}");
    }
}

#[test]
fn the_reason_names_the_most_specific_block() {
    let none = AddressRules::default();
    for (ip, what) in [
        ("255.255.255.255", "broadcast, RFC 919 §7"),
        ("::1", "loopback, RFC 4291 §2.5.3"),
        ("2001::1", "Teredo, RFC 4380"),
        ("4000::1", "not global unicast, RFC 4291"),
    ] {
        let Verdict::Refused(refusal) = check(&none, ip) else {
            panic!("{ip} was not refused");
        };
        assert_eq!(refusal.to_string(), what);
    }
}

#[test]
fn allowed_networks_reopen_what_is_private_and_nothing_else() {
    let rules = rules(
        &["10.0.0.0/8", "fd00::/8", "8.0.0.0/8"],
        &["10.9.0.0/16", "9.9.9.9/32"],
    );
    for (ip, verdict) in [
        ("10.1.2.3", Verdict::AllowedPrivate),
        ("fd12::1", Verdict::AllowedPrivate),
        ("8.8.8.8", Verdict::Public),
        ("10.9.1.1", Verdict::Refused(Refusal::Denied)),
        ("9.9.9.9", Verdict::Refused(Refusal::Denied)),
        ("::ffff:10.9.1.1", Verdict::Refused(Refusal::Denied)),
        ("64:ff9b::9.9.9.9", Verdict::Refused(Refusal::Denied)),
        ("::ffff:10.1.2.3", Verdict::AllowedPrivate),
    ] {
        assert_eq!(check(&rules, ip), verdict, "{ip}");
    }
    assert!(
        matches!(check(&rules, "64:ff9b::10.1.2.3"), Verdict::Refused(_)),
        "only the mapped form is the same host"
    );
    assert!(matches!(check(&rules, "192.168.0.1"), Verdict::Refused(_)));
}

#[test]
fn an_allowed_nat64_prefix_reaches_public_addresses_only() {
    let rules = rules(&["64:ff9b::/96", "64:ff9b:1::/48", "10.0.0.0/8"], &[]);
    assert_eq!(check(&rules, "64:ff9b::8.8.8.8"), Verdict::Public);
    assert_eq!(check(&rules, "64:ff9b::10.0.0.1"), Verdict::AllowedPrivate);
    assert!(matches!(check(&rules, "64:ff9b::127.0.0.1"), Verdict::Refused(_)));
    assert_eq!(check(&rules, "64:ff9b:1::1"), Verdict::AllowedPrivate);
}

#[test]
fn allowing_all_of_ipv6_opens_no_ipv4_address_by_another_name() {
    let rules = rules(&["::/0"], &[]);
    for ip in [
        "::ffff:127.0.0.1",
        "::10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",
    ] {
        assert!(matches!(check(&rules, ip), Verdict::Refused(_)), "{ip}");
    }
    assert_eq!(check(&rules, "::1"), Verdict::AllowedPrivate);
}

fn forms(v4: Ipv4Addr) -> [Ipv6Addr; 6] {
    let [a, b, c, d] = v4.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    [
        v4.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0xf7f7, 0xf7f7),
        Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
    ]
}

proptest! {
    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_refused(bits: u32) {
        let none = AddressRules::default();
        for v6 in forms(bits.into()) {
            prop_assert!(matches!(none.check(v6.into()), Verdict::Refused(_)), "{}", v6);
        }
    }

    #[test]
    fn with_every_form_allowed_a_refused_ipv4_address_stays_refused(bits: u32) {
        let v4 = Ipv4Addr::from(bits);
        let open = rules(&["::/0"], &[]);
        let is_refused = |ip: IpAddr| matches!(open.check(ip), Verdict::Refused(_));
        for v6 in forms(v4) {
            let is_own = v6.is_loopback() || v6.is_unspecified();
            prop_assert_eq!(is_refused(v6.into()), is_refused(v4.into()) && !is_own, "{}", v6);
        }
    }

    #[test]
    fn what_is_denied_is_refused_in_every_form(bits: u32, prefix in 0_u8..=32) {
        let v4 = Ipv4Addr::from(bits);
        let net = ipnet::Ipv4Net::new(v4, prefix).expect("a prefix");
        let rules = AddressRules { allow: vec!["::/0".parse().expect("net"), "0.0.0.0/0".parse().expect("net")], deny: vec![net.into()] };
        prop_assert_eq!(rules.check(v4.into()), Verdict::Refused(Refusal::Denied));
        for v6 in forms(v4).into_iter().filter(|v6| !v6.is_loopback() && !v6.is_unspecified()) {
            prop_assert_eq!(rules.check(v6.into()), Verdict::Refused(Refusal::Denied), "{}", v6);
        }
    }
}
