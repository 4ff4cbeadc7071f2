use super::*;

#[test]
fn a_servers_url_is_taken_with_and_without_its_end() {
    for (text, expected) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("https://bw.example/api", "https://bw.example/"),
        ("https://bw.example/api/", "https://bw.example/"),
        ("https://bw.example/hooks/?x=1#y", "https://bw.example/hooks"),
    ] {
        assert_eq!(server_url(text).expect(text).as_str(), expected);
    }
    for text in [
        "bw.example",
        "ftp://bw.example",
        "https://me:pw@bw.example",
        "http://",
    ] {
        assert!(server_url(text).is_err(), "{text}");
    }
}
