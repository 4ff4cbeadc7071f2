//! Closed sets of words, each written once.
//!
//! Statuses, reasons and results stand in Postgres, in metrics, in the API and in documents. An
//! enum made here has one word for each variant, and everything that lists, writes or reads the
//! words takes them from it.

use thiserror::Error;

/// A word outside its set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is none of {}", .allowed.join(", "))]
pub struct UnknownWord {
    /// The word, cut to 64 characters.
    pub word: String,
    /// The words of the set.
    pub allowed: &'static [&'static str],
}

/// Declares an enum with a word for each variant: `ALL`, `WORDS`, `as_str`, `Display`, `FromStr`,
/// and serde by the word.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        #[allow(dead_code, unreachable_pub, reason = "not every set is listed, written, read and public")]
        impl $name {
            /// Every variant, in the order documents list them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];
            /// The word of every variant, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The variant's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
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
                    _ => Err($crate::domain::words::UnknownWord {
                        word: word.chars().take(64).collect(),
                        allowed: Self::WORDS,
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests;
