//! JSON values read without insisting on a type.
//!
//! A derived struct answers a wrong type with an error about the whole record; naming the field
//! would take a second parse. Keeping the wrong value instead leaves one pass, one set of checks,
//! and an exact answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A scalar, borrowed where the JSON has no escapes, or a value of another type in its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Loose<'a> {
    /// Missing or `null`.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Integer(i64),
    /// A number with a fraction or an exponent, or an integer beyond 64 bits.
    Number(f64),
    Flag(bool),
    /// A value of another type, named for messages.
    Other(&'static str),
}

impl Loose<'_> {
    /// The value's type, named for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Flag(_) => "a boolean",
            Self::Other(name) => name,
        }
    }
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose<'de>, E> {
        Ok(Loose::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose<'de>, E> {
        Ok(i64::try_from(number).map_or(Loose::Number(number as f64), Loose::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::Number(number))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Loose<'de>, E> {
        Ok(Loose::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other("an object"))
    }
}

/// A value that should be an object, read by `T`; of anything else only the type is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum LooseObject<T> {
    #[default]
    Absent,
    Object(T),
    Other(&'static str),
}

/// Receives the entries of an object in the order they are parsed.
pub(super) trait Entries<'de>: Default {
    /// Reads the value of `key` from `entries`, exactly once.
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error>;
}

impl<'de, T: Entries<'de>> Deserialize<'de> for LooseObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(std::marker::PhantomData))
    }
}

struct ObjectVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Entries<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = LooseObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = T::default();
        while let Some(key) = entries.next_key::<ObjectKey<'de>>()? {
            object.entry(key.0, &mut entries)?;
        }
        Ok(LooseObject::Object(object))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(LooseObject::Absent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(LooseObject::Other("a string"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(LooseObject::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(LooseObject::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(LooseObject::Other("a number"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(LooseObject::Other("a boolean"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(LooseObject::Other("an array"))
    }
}

/// A key of an object, borrowed where it can be: serde's own `Cow` inside a map always copies.
struct ObjectKey<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for ObjectKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = ObjectKey<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<ObjectKey<'de>, E> {
                Ok(ObjectKey(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<ObjectKey<'de>, E> {
                Ok(ObjectKey(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}
