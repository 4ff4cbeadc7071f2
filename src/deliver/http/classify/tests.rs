use super::*;

#[test]
fn no_network_is_our_fault_only_if_all_addresses_were_ipv4() {
    let instants = |only_v4| {
        let mut instants = PhaseInstants::default();
        instants.only_v4 = only_v4;
        instants
    };
    let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
    assert!(own_fault(&unreachable, &instants(Some(true))).is_some());
    assert!(own_fault(&unreachable, &instants(Some(false))).is_none());
    assert!(own_fault(&unreachable, &instants(None)).is_none());
    assert!(own_fault(&io::Error::from_raw_os_error(24), &instants(None)).is_some());
    assert!(
        own_fault(
            &io::Error::from(io::ErrorKind::ConnectionRefused),
            &instants(Some(true))
        )
        .is_none()
    );
}

#[test]
fn tls_errors_are_found_inside_io_errors() {
    let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
    let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
    let found = tls_error(&nested).expect("found");
    assert_eq!(tls_text(found), "the certificate is not accepted: it has expired");
    assert!(tls_error(&io::Error::other("something else")).is_none());
}

#[test]
fn a_failed_look_up_is_shown_in_the_systems_words() {
    let error = io::Error::other("failed to lookup address information: Name or service not known");
    assert_eq!(
        lookup_text(&error),
        "the host name could not be resolved: Name or service not known"
    );
}
