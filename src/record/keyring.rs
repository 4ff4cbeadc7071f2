//! Encryption at rest: XChaCha20-Poly1305, every value bound to its place.
//!
//! A sealed value is `version (1) | length of key id | key id | nonce (24) | ciphertext and tag`.
//! The head, table, column and row are authenticated with it, so a value that is changed, or copied
//! to another place, does not open. Its nonces of 192 bits may be drawn at random for as long as a
//! key lives; those of the variant with 96 bits may not.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::chance;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
pub(crate) const MAX_KEY_ID_BYTES: usize = 64;

/// Table, column and row of a sealed value, which opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    pub(crate) column: &'a str,
    /// The row's primary key as text.
    pub(crate) row: &'a str,
}

/// The configured keys: the first one writes, any of them reads.
pub struct Keyring {
    first: EncryptionKey,
    others: Vec<EncryptionKey>,
}

struct EncryptionKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// Reason why a list of keys cannot be used. It names a key by its id or number and never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyring {
    #[error("no encryption key is configured; `bellwether keys generate` prints one for `encryption.keys`")]
    Empty,
    #[error("encryption key number {0} is not `<id>:<base64 of 32 bytes>`")]
    Form(usize),
    #[error("encryption key number {0}: an id has 1 to {MAX_KEY_ID_BYTES} letters, digits, `.`, `_` or `-`")]
    Id(usize),
    #[error("encryption key `{0}` is not base64 of 32 bytes")]
    Key(String),
    #[error("encryption key id `{0}` is configured twice")]
    Duplicate(String),
}

/// Reason why a sealed value does not open. It names the key, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the stored value is not in a form this version knows")]
    Form,
    #[error("it was encrypted with key `{0}`, which is not configured")]
    UnknownKey(String),
    #[error("key `{0}` does not open it: the key is another one, or the value was changed or moved")]
    Refused(String),
    #[error("it was encrypted with key `{0}` but is not text")]
    NotText(String),
}

impl Keyring {
    /// Reads keys in the form `<id>:<base64 of 32 bytes>`, the writing one first.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Self, InvalidKeyring> {
        let mut keys: Vec<EncryptionKey> = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let key = EncryptionKey::parse(line.as_ref(), index + 1)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(InvalidKeyring::Duplicate(key.id));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(InvalidKeyring::Empty)?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }

    /// The id of the key that writes.
    pub(crate) fn writing_key_id(&self) -> &str {
        &self.first.id
    }

    /// The first bytes of every value of the writing key.
    pub(crate) fn head(&self) -> Vec<u8> {
        head_of(&self.first.id)
    }

    /// True if a key of this id is configured.
    pub(crate) fn has(&self, key_id: &str) -> bool {
        self.key(key_id).is_some()
    }

    /// Encrypts `plain` for `place`. The nonce is drawn here and is no argument: to use one twice
    /// would reveal the key stream.
    pub(crate) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = chance::bytes();
        let head = head_of(&self.first.id);
        let aad = authenticated(&head, place);
        let sealed = self
            .first
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .expect("a value in memory is far below the cipher's limit of 256 GiB");
        [head.as_slice(), &nonce, &sealed].concat()
    }

    /// Decrypts what [`seal`](Self::seal) made for the same place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (key_id, head, rest) = split_head(sealed).ok_or(OpenError::Form)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Form)?;
        let key = self
            .key(key_id)
            .ok_or_else(|| OpenError::UnknownKey(key_id.to_owned()))?;
        let aad = authenticated(head, place);
        key.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: ciphertext,
                    aad: &aad,
                },
            )
            .map_err(|_| OpenError::Refused(key_id.to_owned()))
    }

    /// [`open`](Self::open) for text.
    pub(crate) fn open_text(&self, place: Place<'_>, sealed: &[u8]) -> Result<String, OpenError> {
        String::from_utf8(self.open(place, sealed)?).map_err(|_| {
            OpenError::NotText(
                split_head(sealed)
                    .map(|(key_id, ..)| key_id.to_owned())
                    .unwrap_or_default(),
            )
        })
    }

    fn key(&self, key_id: &str) -> Option<&EncryptionKey> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id == key_id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = std::iter::once(&self.first)
            .chain(&self.others)
            .map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

impl EncryptionKey {
    fn parse(line: &str, number: usize) -> Result<Self, InvalidKeyring> {
        let (id, encoded) = line.trim().split_once(':').ok_or(InvalidKeyring::Form(number))?;
        if !is_key_id(id) {
            return Err(InvalidKeyring::Id(number));
        }
        let wrong = || InvalidKeyring::Key(id.to_owned());
        let bytes = STANDARD.decode(encoded).map_err(|_| wrong())?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| wrong())?;
        Ok(Self {
            id: id.to_owned(),
            cipher: XChaCha20Poly1305::new(&bytes.into()),
        })
    }
}

/// Formats a new key as the configuration takes it.
pub(crate) fn generate_key(id: &str, random: [u8; KEY_BYTES]) -> Result<String, InvalidKeyring> {
    if !is_key_id(id) {
        return Err(InvalidKeyring::Id(1));
    }
    Ok(format!("{id}:{}", STANDARD.encode(random)))
}

/// True if a key may have this id.
pub(crate) fn is_key_id(id: &str) -> bool {
    (1..=MAX_KEY_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn head_of(key_id: &str) -> Vec<u8> {
    // An id has at most 64 bytes.
    [&[VERSION, key_id.len() as u8], key_id.as_bytes()].concat()
}

fn split_head(sealed: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let [VERSION, length, ..] = *sealed else {
        return None;
    };
    let (head, rest) = sealed.split_at_checked(2 + usize::from(length))?;
    let key_id = std::str::from_utf8(&head[2..]).ok().filter(|id| is_key_id(id))?;
    Some((key_id, head, rest))
}

/// Head and place, each part after its length, so that no two places give the same bytes.
fn authenticated(head: &[u8], place: Place<'_>) -> Vec<u8> {
    let parts = [
        head,
        place.table.as_bytes(),
        place.column.as_bytes(),
        place.row.as_bytes(),
    ];
    parts
        .iter()
        .flat_map(|part| {
            (part.len() as u64)
                .to_be_bytes()
                .into_iter()
                .chain(part.iter().copied())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        table: "webhooks",
        column: "url",
        row: "1",
    };

    fn key(id: &str, byte: u8) -> String {
        generate_key(id, [byte; 32]).expect("a good id")
    }

    fn keyring(lines: &[String]) -> Keyring {
        Keyring::parse(lines).expect("good keys")
    }

    #[test]
    fn what_is_sealed_opens_in_its_place() {
        let keys = keyring(&[key("a", 1)]);
        for plain in [
            b"".as_slice(),
            b"https://hooks.example.com/T000/secret",
            &[0; 5_000],
        ] {
            assert_eq!(keys.open(PLACE, &keys.seal(PLACE, plain)).as_deref(), Ok(plain));
        }
    }

    #[test]
    fn the_same_text_is_sealed_differently_every_time() {
        let keys = keyring(&[key("a", 1)]);
        assert_ne!(keys.seal(PLACE, b"same"), keys.seal(PLACE, b"same"));
    }

    #[test]
    fn a_value_moved_to_another_table_column_or_row_does_not_open() {
        let keys = keyring(&[key("a", 1)]);
        let sealed = keys.seal(PLACE, b"secret");
        for place in [
            Place {
                table: "goals",
                ..PLACE
            },
            Place {
                column: "headers",
                ..PLACE
            },
            Place { row: "2", ..PLACE },
            Place {
                table: "webhook",
                column: "surl",
                ..PLACE
            },
        ] {
            assert_eq!(
                keys.open(place, &sealed),
                Err(OpenError::Refused("a".into())),
                "{place:?}"
            );
        }
    }

    #[test]
    fn no_changed_or_cut_byte_goes_unnoticed() {
        let keys = keyring(&[key("a", 1), key("c", 2)]);
        let sealed = keys.seal(PLACE, b"secret");
        for at in 0..sealed.len() {
            for flip in [1, 2, 0x80] {
                let mut changed = sealed.clone();
                changed[at] ^= flip;
                assert!(keys.open(PLACE, &changed).is_err(), "byte {at}");
            }
            assert!(keys.open(PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_first_key_writes_and_any_reads() {
        let old = keyring(&[key("old", 1)]);
        let both = keyring(&[key("new", 2), key("old", 1)]);
        let sealed = old.seal(PLACE, b"secret");
        assert_eq!(both.open(PLACE, &sealed).as_deref(), Ok(b"secret".as_slice()));
        let again = both.seal(PLACE, b"secret");
        assert_eq!(old.open(PLACE, &again), Err(OpenError::UnknownKey("new".into())));
    }

    #[test]
    fn another_key_under_the_same_id_is_refused_by_name() {
        let sealed = keyring(&[key("a", 1)]).seal(PLACE, b"secret");
        let wrong = keyring(&[key("a", 2)])
            .open(PLACE, &sealed)
            .expect_err("another key");
        assert_eq!(wrong, OpenError::Refused("a".into()));
        assert!(!wrong.to_string().contains("secret"));
    }

    #[test]
    fn bad_keys_are_refused_without_being_shown() {
        for (lines, wanted) in [
            (vec![], InvalidKeyring::Empty),
            (vec!["no-colon".to_owned()], InvalidKeyring::Form(1)),
            (vec![key("a", 1), ":AAAA".to_owned()], InvalidKeyring::Id(2)),
            (vec!["a b:AAAA".to_owned()], InvalidKeyring::Id(1)),
            (vec!["a:AAAA".to_owned()], InvalidKeyring::Key("a".into())),
            (vec!["a:oh no!!".to_owned()], InvalidKeyring::Key("a".into())),
            (
                vec![key("a", 1), key("a", 2)],
                InvalidKeyring::Duplicate("a".into()),
            ),
        ] {
            let wrong = Keyring::parse(&lines).expect_err("bad keys");
            assert_eq!(wrong, wanted);
            assert!(!wrong.to_string().contains("AAAA") && !wrong.to_string().contains("oh no"));
        }
        assert_eq!(
            format!("{:?}", keyring(&[key("a", 1), key("b", 1)])),
            r#"["a", "b"]"#
        );
    }
}
