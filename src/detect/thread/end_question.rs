//! The question for the end of a partition: one at a time. An end before what was known when it was
//! asked for is believed when it stays: a partition's new leader may know less for a moment.

/// Answers in a row after which a shorter end is believed.
const SHORT_ENDS: u32 = 3;

/// The question that is not answered yet, and what earlier ones have shown.
#[derive(Debug, Default)]
pub(crate) struct EndQuestion {
    open: Option<OpenQuestion>,
    /// Answers in a row with a shorter end.
    short_ends: u32,
}

#[derive(Debug, Clone, Copy)]
struct OpenQuestion {
    /// Milliseconds since the Unix epoch.
    asked_ms: i64,
    /// The least end that was known by then.
    known: i64,
}

/// Meaning of an end that brokers have answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredEnd {
    /// It answers no question that is open.
    Unasked,
    /// It is not before what was known.
    Whole,
    /// It is before what was known, for now.
    Short,
    /// It is before what was known, and stays there.
    GoneBack {
        /// The end that was known.
        expected: i64,
    },
}

impl EndQuestion {
    /// Notes that the end is asked for while `known` is the least that it can be. False if an
    /// earlier question is still open: it is not asked again.
    pub(crate) fn ask(&mut self, asked_ms: i64, known: i64) -> bool {
        let is_new = self.open.is_none();
        self.open.get_or_insert(OpenQuestion { asked_ms, known });
        is_new
    }

    /// Notes that the question has failed.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// Notes the end as it was answered to a request of `asked_ms`.
    pub(crate) fn answer(&mut self, end: i64, asked_ms: i64) -> AnsweredEnd {
        let open = self.open.take();
        let Some(question) = open.filter(|question| question.asked_ms == asked_ms) else {
            return AnsweredEnd::Unasked;
        };
        if end >= question.known {
            self.short_ends = 0;
            return AnsweredEnd::Whole;
        }
        self.short_ends += 1;
        match self.short_ends >= SHORT_ENDS {
            true => AnsweredEnd::GoneBack {
                expected: question.known,
            },
            false => AnsweredEnd::Short,
        }
    }
}
