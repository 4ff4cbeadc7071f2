//! Which addresses a webhook may reach.
//!
//! An address is called when it is global unicast: IPv4 outside the special-purpose blocks, IPv6
//! inside `2000::/3` (the only space IANA has given out for global unicast) and outside the
//! special-purpose blocks. The most specific block of the IANA registries decides (RFC 6890, RFC
//! 8190), by its column "Globally Reachable". Two things are stricter than that column: forms that
//! carry an IPv4 address inside an IPv6 one are refused whatever they carry, and so is all
//! multicast.
//!
//! Nothing here resolves a name; the resolver asks about every address it gets, so an answer that
//! changes between two look-ups (DNS rebinding) is judged each time.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The operator's exceptions to the rule; `webhooks.allow_networks` and `webhooks.deny_networks`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AddressRules {
    /// May be called although not global unicast.
    pub(crate) allow: Vec<IpNet>,
    /// May not be called, whatever else says so. An IPv4 network covers every form that carries its
    /// addresses.
    pub(crate) deny: Vec<IpNet>,
}

/// Verdict of the rules on one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Global unicast.
    Public,
    /// Not global unicast, but allowed by the operator. Of its answers only status and timing are
    /// kept, so that an allowed network cannot be read through the delivery log.
    AllowedPrivate,
    /// Not to be called.
    Refused(Refusal),
}

/// Reason for which an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// In `webhooks.deny_networks`.
    Denied,
    /// In a special-purpose block: what it is for and where that is said.
    Special {
        what: &'static str,
        source: &'static str,
    },
    /// IPv6 outside `2000::/3`, of which nothing is given out for global unicast.
    NotGlobalUnicast,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied by configuration"),
            Self::Special { what, source } => write!(f, "{what}, {source}"),
            Self::NotGlobalUnicast => f.write_str("not global unicast, RFC 4291"),
        }
    }
}

impl AddressRules {
    /// Judges one address. Denied wins over allowed; allowed matters only to what is not public
    /// anyway.
    pub(crate) fn check(&self, ip: IpAddr) -> Verdict {
        let carried = carried_v4(ip);
        let denied = |one: IpAddr| self.deny.iter().any(|net| net.contains(&one));
        if denied(ip)
            || carried.into_iter().flatten().any(|v4| denied(v4.into()))
            || matches!(ip, IpAddr::V4(v4) if denied(v4.to_ipv6_mapped().into()))
        {
            return Verdict::Refused(Refusal::Denied);
        }
        let refusal = match refusal_by_registry(ip) {
            None => return Verdict::Public,
            Some(refusal) => refusal,
        };
        let allowed = self.allow.iter().any(|net| net.contains(&ip));
        // Who allows NAT64 (a network without IPv4 needs to) allows a way to reach IPv4, not every
        // IPv4 address.
        let inner = carried
            .into_iter()
            .flatten()
            .map(|v4| self.check(v4.into()))
            .reduce(stricter);
        match inner {
            Some(inner) if allowed => inner,
            // The operating system connects a mapped address by IPv4: it is another spelling of the
            // allowed one.
            Some(Verdict::AllowedPrivate) if is_mapped(ip) => Verdict::AllowedPrivate,
            None if allowed => Verdict::AllowedPrivate,
            _ => Verdict::Refused(refusal),
        }
    }
}

const fn stricter(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        (Verdict::Refused(_), _) => a,
        (_, Verdict::Refused(_)) => b,
        (Verdict::AllowedPrivate, _) => a,
        _ => b,
    }
}

const fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The IPv4 addresses inside an IPv6 one, where the form says where they stand. The local-use NAT64
/// prefix `64:ff9b:1::/48` (RFC 8215) leaves the place to its operator, so what it carries cannot
/// be judged.
fn carried_v4(ip: IpAddr) -> [Option<Ipv4Addr>; 2] {
    let IpAddr::V6(v6) = ip else {
        return [None; 2];
    };
    let [_, b, _, _, _, _, g, h] = v6.segments();
    let low = v4_of(g, h);
    match v6.segments() {
        // Unspecified and loopback are addresses of their own, not IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 2],
        // IPv4-compatible and -mapped, RFC 4291 §2.5.5; IPv4-translated, RFC 2765; NAT64, RFC 6052
        // §2.2.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [Some(low), None],
        // 6to4, RFC 3056 §2.
        [0x2002, _, c, ..] => [Some(v4_of(b, c)), None],
        // Teredo, RFC 4380 §4: the server, and the client with every bit turned.
        [0x2001, 0, c, d, ..] => [Some(v4_of(c, d)), Some(v4_of(!g, !h))],
        _ => [None; 2],
    }
}

const fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((high as u32) << 16 | low as u32)
}

fn refusal_by_registry(ip: IpAddr) -> Option<Refusal> {
    let (bits, table) = match ip {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, V4),
        IpAddr::V6(v6) => (v6.to_bits(), V6),
    };
    let block = table
        .iter()
        .filter(|block| block.covers(bits))
        .max_by_key(|block| block.prefix);
    match (block, ip) {
        (Some(block), _) if block.reachable => None,
        (Some(block), _) => Some(Refusal::Special {
            what: block.what,
            source: block.source,
        }),
        (None, IpAddr::V4(_)) => None,
        (None, IpAddr::V6(v6)) => (v6.segments()[0] >> 13 != 1).then_some(Refusal::NotGlobalUnicast),
    }
}

/// A special-purpose block. `bits` are those of the network, left-aligned.
struct Block {
    bits: u128,
    prefix: u32,
    what: &'static str,
    source: &'static str,
    reachable: bool,
}

impl Block {
    const fn covers(&self, bits: u128) -> bool {
        (bits ^ self.bits) >> (128 - self.prefix) == 0
    }

    const fn reachable(mut self) -> Self {
        self.reachable = true;
        self
    }
}

const fn v4(net: [u8; 4], prefix: u32, what: &'static str, source: &'static str) -> Block {
    Block {
        bits: (u32::from_be_bytes(net) as u128) << 96,
        prefix,
        what,
        source,
        reachable: false,
    }
}

const fn v6(net: [u16; 8], prefix: u32, what: &'static str, source: &'static str) -> Block {
    let [a, b, c, d, e, f, g, h] = net;
    Block {
        bits: Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(),
        prefix,
        what,
        source,
        reachable: false,
    }
}

/// The IANA IPv4 Special-Purpose Address Registry, with multicast (RFC 5771) added.
#[rustfmt::skip]
const V4: &[Block] = &[
    v4([0, 0, 0, 0], 8, "this network", "RFC 791 §3.2"),
    v4([10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "shared address space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "loopback", "RFC 1122 §3.2.1.3"),
    v4([169, 254, 0, 0], 16, "link local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, "protocol assignments", "RFC 6890 §2.1"),
    v4([192, 0, 0, 9], 32, "port control anycast", "RFC 7723").reachable(),
    v4([192, 0, 0, 10], 32, "TURN anycast", "RFC 8155").reachable(),
    v4([192, 0, 2, 0], 24, "documentation", "RFC 5737"),
    v4([192, 31, 196, 0], 24, "AS112", "RFC 7535").reachable(),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450").reachable(),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast", "RFC 7526"),
    v4([192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, "AS112", "RFC 7534").reachable(),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "documentation", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "documentation", "RFC 5737"),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved", "RFC 1112 §4"),
    v4([255, 255, 255, 255], 32, "broadcast", "RFC 919 §7"),
];

/// The IANA IPv6 Special-Purpose Address Registry, with multicast (RFC 4291), the retired
/// site-local block (RFC 3879) and the forms that carry IPv4 addresses added. NAT64 is "globally
/// reachable" there; here it needs the operator's word.
#[rustfmt::skip]
const V6: &[Block] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible", "RFC 4291 §2.5.5.1"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", "RFC 4291 §2.5.2"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", "RFC 4291 §2.5.3"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", "RFC 4291 §2.5.5.2"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated", "RFC 2765 §2.1"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64", "RFC 6052"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use NAT64", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments", "RFC 2928"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", "RFC 4380"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "port control anycast", "RFC 7723").reachable(),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "TURN anycast", "RFC 8155").reachable(),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "service registration anycast", "RFC 9665").reachable(),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", "RFC 7450").reachable(),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112", "RFC 7535").reachable(),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID, retired", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", "RFC 7343").reachable(),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone remote id", "RFC 9374").reachable(),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112", "RFC 7534").reachable(),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local", "RFC 4291 §2.5.6"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site local, retired", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291 §2.7"),
];

#[cfg(test)]
mod tests;
