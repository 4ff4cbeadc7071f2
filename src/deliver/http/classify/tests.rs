use super::*;

#[test]
fn no_network_is_our_fault_only_if_all_addresses_were_ipv4() {
    let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
    assert!(own_fault(&unreachable, true).is_some());
    assert!(own_fault(&unreachable, false).is_none());
    assert!(own_fault(&io::Error::from_raw_os_error(24), false).is_some());
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert!(own_fault(&refused, true).is_none());
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
fn an_alert_of_tls_is_told_in_words() {
    for (alert, words) in [
        (AlertDescription::HandshakeFailure, "handshake failure"),
        (AlertDescription::UnknownCA, "unknown ca"),
        (AlertDescription::Unknown(200), "alert 200"),
    ] {
        let told = tls_text(&rustls::Error::AlertReceived(alert));
        assert_eq!(told, format!("the endpoint refused the TLS handshake: {words}"));
    }
}
