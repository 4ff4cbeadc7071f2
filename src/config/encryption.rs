//! `[encryption]`. No problem shows a value of this section.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::problems::{HIDDEN, Problems};

/// `[encryption]`: keys of what is encrypted at rest. The first one writes, any reads.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// `<id>:<base64 of 32 bytes>`
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) keys: Vec<String>,
    /// Files with such lines, read after `keys`.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) key_files: Vec<PathBuf>,
}

impl fmt::Debug for EncryptionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionConfig")
            .field("keys", &self.keys.len())
            .field("key_files", &self.key_files)
            .finish()
    }
}

impl EncryptionConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for (i, key) in self.keys.iter().enumerate() {
            let ok = key
                .split_once(':')
                .is_some_and(|(id, rest)| !id.is_empty() && !rest.is_empty());
            problems.check(
                ok,
                &format!("encryption.keys[{i}]"),
                HIDDEN,
                "allowed: <id>:<base64 of 32 bytes>, as `bellwether keys generate` prints it",
            );
        }
    }
}

/// A list, or (handy in an environment variable) one text with commas.
fn one_or_many<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "allowed: a list of texts, or one text with commas between them"
    )]
    enum Either {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Many(list) => list.into_iter().map(T::from).collect(),
        Either::One(text) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| T::from(part.to_owned()))
            .collect(),
    })
}
