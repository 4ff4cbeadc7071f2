//! The fields of a record as they were found, before any of them is checked.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess};

use super::limits::MAX_PROPS;
use super::loose::{Entries, Loose, LooseObject};
use crate::domain::texts::WrittenTexts;

/// Every field of the native format; the others of a record are skipped.
#[derive(Default)]
pub(super) struct RecordFields<'a> {
    pub(super) site_id: Loose<'a>,
    pub(super) kind: Loose<'a>,
    pub(super) name: Loose<'a>,
    pub(super) visitor_id: Loose<'a>,
    pub(super) path: Loose<'a>,
    pub(super) timestamp: Loose<'a>,
    pub(super) event_id: Loose<'a>,
    pub(super) props: LooseObject<Props<'a>>,
    pub(super) source: Loose<'a>,
    pub(super) revenue: LooseObject<Money<'a>>,
    pub(super) scroll_depth: Loose<'a>,
    pub(super) historical: Loose<'a>,
}

impl<'a> RecordFields<'a> {
    /// The scalar field of this name; `None` for objects and for names that are not ours.
    #[inline]
    pub(super) fn scalar(&mut self, key: &str) -> Option<&mut Loose<'a>> {
        match key {
            "site_id" => Some(&mut self.site_id),
            "type" => Some(&mut self.kind),
            "name" => Some(&mut self.name),
            "visitor_id" => Some(&mut self.visitor_id),
            "path" => Some(&mut self.path),
            "timestamp" => Some(&mut self.timestamp),
            "event_id" => Some(&mut self.event_id),
            "source" => Some(&mut self.source),
            "scroll_depth" => Some(&mut self.scroll_depth),
            "historical" => Some(&mut self.historical),
            _ => None,
        }
    }
}

impl<'de> Entries<'de> for RecordFields<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        match (self.scalar(&key), &*key) {
            (Some(field), _) => *field = entries.next_value()?,
            (None, "props") => self.props = entries.next_value()?,
            (None, "revenue") => self.revenue = entries.next_value()?,
            (None, _) => {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Properties: unparsed when the scanner found them, one by one when the general parser did.
#[derive(Default)]
pub(super) struct Props<'a> {
    pub(super) written: WrittenTexts<'a>,
    /// At most one more than is allowed: enough to know that there are too many.
    pub(super) pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Type of a value that is not a string.
    pub(super) wrong_type: Option<&'static str>,
}

impl<'de> Entries<'de> for Props<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        if self.pairs.len() > MAX_PROPS {
            entries.next_value::<IgnoredAny>()?;
            return Ok(());
        }
        let known = self.pairs.iter().position(|(name, _)| *name == key);
        match entries.next_value()? {
            Loose::Text(value) => match known {
                Some(at) => self.pairs[at].1 = value,
                None => self.pairs.push((key, value)),
            },
            Loose::Absent => {
                if let Some(at) = known {
                    self.pairs.remove(at);
                }
            }
            other => self.wrong_type = Some(other.type_name()),
        }
        Ok(())
    }
}

/// Amount and currency of a revenue.
#[derive(Default)]
pub(super) struct Money<'a> {
    pub(super) amount: Loose<'a>,
    pub(super) currency: Loose<'a>,
}

impl<'a> Money<'a> {
    /// Reads both from an object that the scanner found.
    pub(super) fn from_texts(texts: WrittenTexts<'a>) -> Self {
        let field = |name| {
            texts
                .get(name)
                .map_or(Loose::Absent, |text| Loose::Text(text.into()))
        };
        Self {
            amount: field("amount"),
            currency: field("currency"),
        }
    }
}

impl<'de> Entries<'de> for Money<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        match &*key {
            "amount" => self.amount = entries.next_value()?,
            "currency" => self.currency = entries.next_value()?,
            _ => {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
