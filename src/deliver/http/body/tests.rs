use proptest::prelude::*;

use super::*;

/// Content, bytes that belong to the body, and if it has ended.
fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BadBody> {
    let mut reader = BodyReader::new(framing);
    let (mut content, mut used) = (Vec::new(), 0);
    for piece in pieces {
        used += reader.read(piece, |part| content.extend_from_slice(part))?;
    }
    Ok((content, used, reader.has_ended()))
}

#[test]
fn bodies_end_where_their_framing_says() {
    let ok = |content: &str, used, ended| Ok((content.as_bytes().to_vec(), used, ended));
    assert_eq!(read(Framing::Empty, &[b"x"]), ok("", 0, true));
    assert_eq!(read(Framing::Length(3), &[b"abcdef"]), ok("abc", 3, true));
    assert_eq!(read(Framing::Length(9), &[b"abc"]), ok("abc", 3, false));
    assert_eq!(read(Framing::UntilClose, &[b"abc", b"d"]), ok("abcd", 4, false));
    let chunks = b"3;name=value\r\nabc\r\n0A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nrest";
    assert_eq!(
        read(Framing::Chunked, &[chunks]),
        ok("abc0123456789", chunks.len() - 4, true)
    );
    assert_eq!(read(Framing::Chunked, &[b"1\nx\n0\n\n"]), ok("x", 7, true));
}

#[test]
fn broken_chunks_are_noticed_and_lines_are_bounded() {
    let long = [b'1'; MAX_LINE_BYTES + 1];
    let many = [&b"0\r\n"[..], &b"a".repeat(MAX_LINE_BYTES + 1)].concat();
    for bytes in [
        &b"zz\r\n"[..],
        b"\r\n",
        b"-1\r\n",
        b"1\r\nxy\r\n",
        b"fffffffffffffffff\r\n",
        &long,
        &many,
    ] {
        assert_eq!(read(Framing::Chunked, &[bytes]), Err(BadBody), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn chunks_in_pieces_of_any_size_give_the_content(content in proptest::collection::vec(any::<Vec<u8>>(), 0..5), cut in 1..20_usize) {
        let mut wire = Vec::new();
        for part in content.iter().filter(|part| !part.is_empty()) {
            wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            wire.extend_from_slice(part);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
        prop_assert_eq!(read(Framing::Chunked, &pieces), Ok((content.concat(), wire.len(), true)));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read(Framing::Chunked, &[&bytes]);
    }
}
