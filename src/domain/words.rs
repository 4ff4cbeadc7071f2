//! Closed sets of words, each written once.
//!
//! Statuses, reasons and results stand in Postgres, in metrics, in the API and in documents. An
//! enum made here has a word for each variant, and everything that lists, writes or reads the words
//! takes them from it.

use thiserror::Error;

/// A word outside its set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is none of {}", .allowed.join(", "))]
pub struct UnknownWord {
    /// The word, cut to 64 characters.
    word: String,
    /// The words of the set.
    allowed: &'static [&'static str],
}

impl UnknownWord {
    /// Makes the error for a word that is not among those `allowed`.
    pub(crate) fn new(word: &str, allowed: &'static [&'static str]) -> Self {
        let word = word.chars().take(64).collect();
        Self { word, allowed }
    }
}

/// Declares an enum with a word for each variant: `ALL`, `WORDS`, `as_str`, `Display`, `FromStr`,
/// and serde by the word.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[$variant_meta])* #[serde(rename = $word)] $variant),+ }

        #[allow(dead_code, unreachable_pub, reason = "not every set is listed and public")]
        impl $name {
            /// Every variant, in the order of the documents.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];
            /// The word of every variant, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The variant's word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::words::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::domain::words::UnknownWord::new(word, Self::WORDS)),
                }
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests;
