//! Reads the head of a response as leniently as curl and the common HTTP libraries.
//!
//! Of a head only the status and five header fields matter, so an untidy line is passed over: a
//! blank before the colon or in a name, a folded line, a control character in a value, a line
//! without a colon. Each byte is looked at once, however small the pieces it comes in; a parser
//! that starts over with every piece costs a slow sender's head squared. Bounds:
//! `MAX_HEAD_BYTES`, `MAX_HEAD_LINES` and `MAX_INTERIM` for all heads of an answer together.

use memchr::memchr;

/// Most bytes of all heads of an answer.
pub(super) const MAX_HEAD_BYTES: usize = 256 * 1_024;
/// Most header lines of all heads of an answer.
pub(super) const MAX_HEAD_LINES: usize = 1_000;
/// Most interim answers (1xx) before the final one.
pub(super) const MAX_INTERIM: usize = 16;
/// Longest value that is kept of a field: a list of transfer codings, a date, or a number of many
/// digits.
const MAX_VALUE_BYTES: usize = 4 * 1_024;

/// Reason why bytes are no head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHead {
    #[error("the endpoint's answer is not HTTP")]
    NotHttp,
    #[error("the response's head is longer than {} KiB", MAX_HEAD_BYTES / 1_024)]
    TooLong,
    #[error("the response's head has more than {MAX_HEAD_LINES} lines")]
    TooManyLines,
    #[error("the endpoint sent more than {MAX_INTERIM} interim answers (1xx)")]
    TooManyInterim,
}

/// The head of a final response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// False for HTTP/1.0.
    pub(super) is_http_1_1: bool,
    content_length: ContentLength,
    transfer_encoding: Option<String>,
    connection: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) date: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ContentLength {
    #[default]
    None,
    Bytes(u64),
    /// Not a number, or two numbers.
    Unclear,
}

impl ContentLength {
    /// The length after one more number, which may have a plus sign.
    fn and(self, number: &[u8]) -> Self {
        let length = digits(number.strip_prefix(b"+").unwrap_or(number));
        match (self, length) {
            (Self::None, Some(length)) => Self::Bytes(length),
            (Self::Bytes(first), Some(length)) if first == length => self,
            _ => Self::Unclear,
        }
    }
}

/// Rule by which the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

impl ResponseHead {
    const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    pub(super) fn framing(&self) -> Framing {
        let coding = self.transfer_encoding.as_deref();
        match (self.status, coding, self.content_length) {
            // 101: what follows is another protocol, which nobody asked for.
            (101 | 204 | 304, ..) => Framing::Empty,
            (_, Some(coding), _) if last_word_is(coding, "chunked") => Framing::Chunked,
            (_, Some(_), _) => Framing::UntilClose,
            (_, None, ContentLength::Bytes(0)) => Framing::Empty,
            (_, None, ContentLength::Bytes(length)) => Framing::Length(length),
            (_, None, _) => Framing::UntilClose,
        }
    }

    /// True if the connection may carry another request once the body has been read.
    pub(super) fn keeps_connection(&self) -> bool {
        let says = |word: &str| {
            let tokens = self.connection.as_deref().unwrap_or_default().split(',');
            tokens
                .into_iter()
                .any(|token| token.trim().eq_ignore_ascii_case(word))
        };
        let is_clear = self.transfer_encoding.is_none() || self.content_length == ContentLength::None;
        let persists = if self.is_http_1_1 {
            !says("close")
        } else {
            says("keep-alive")
        };
        is_clear && persists && self.status != 101 && self.framing() != Framing::UntilClose
    }

    /// Adds the codings of one more field. `identity` codes nothing, and gaps in a list are none.
    fn add_codings(&mut self, list: &str) {
        let codings = list.split(',').map(str::trim);
        for coding in codings.filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity")) {
            let codings = self.transfer_encoding.get_or_insert_default();
            if codings.len() < MAX_VALUE_BYTES {
                codings.push(',');
                codings.push_str(coding);
            }
        }
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        let value = value[..value.len().min(MAX_VALUE_BYTES)].trim_ascii();
        let text = || Some(String::from_utf8_lossy(value).into_owned());
        match name {
            name if name.eq_ignore_ascii_case(b"content-length") => {
                for one in value.split(|byte| *byte == b',') {
                    self.content_length = self.content_length.and(one.trim_ascii());
                }
            }
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.add_codings(&String::from_utf8_lossy(value));
            }
            name if name.eq_ignore_ascii_case(b"connection") => self.connection = text(),
            name if name.eq_ignore_ascii_case(b"retry-after") && self.retry_after.is_none() => {
                self.retry_after = text();
            }
            name if name.eq_ignore_ascii_case(b"date") && self.date.is_none() => self.date = text(),
            _ => {}
        }
    }
}

fn last_word_is(list: &str, word: &str) -> bool {
    list.rsplit(',')
        .next()
        .is_some_and(|last| last.trim().eq_ignore_ascii_case(word))
}

fn digits(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

/// Reads heads from pieces of any size, passing over interim answers.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: usize,
    lines: usize,
    interim: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last field, held back since the next line may continue it.
    field: Option<(Vec<u8>, Vec<u8>)>,
    head: Option<ResponseHead>,
}

impl HeadReader {
    /// True if not a byte has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }

    /// Returns the head of a final answer whose connection ended within it, with the fields that
    /// came whole; nothing without a status.
    pub(super) fn cut_off(mut self) -> Option<ResponseHead> {
        let mut head = match self.head.take() {
            Some(head) => head,
            None => status_line(self.line.trim_ascii_end())?,
        };
        if let Some((name, value)) = self.field.take() {
            head.take(&name, &value);
        }
        (!head.is_interim()).then_some(head)
    }

    /// Reads on. Returns the final head with the number of bytes of `piece` that belong to it, or
    /// nothing while it is not complete.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<Option<(ResponseHead, usize)>, BadHead> {
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            let (part, is_whole) = match memchr(b'\n', rest) {
                Some(end) => (&rest[..=end], true),
                None => (rest, false),
            };
            at += part.len();
            self.bytes += part.len();
            if self.bytes > MAX_HEAD_BYTES {
                return Err(BadHead::TooLong);
            }
            self.line.extend_from_slice(part);
            if !is_whole {
                // So that what is not HTTP is known without the end of its first line.
                if self.head.is_none() && !may_be_status_line(&self.line) {
                    return Err(BadHead::NotHttp);
                }
                break;
            }
            let mut line = std::mem::take(&mut self.line);
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            if let Some(head) = self.take_line(&line)? {
                return Ok(Some((head, at)));
            }
            line.clear();
            self.line = line;
        }
        Ok(None)
    }

    /// Reads a line without its end; returns the head that it completes.
    fn take_line(&mut self, line: &[u8]) -> Result<Option<ResponseHead>, BadHead> {
        let Some(head) = &mut self.head else {
            // Some servers send a blank line after a body (RFC 9112 §2.2 has it for requests).
            if !line.is_empty() {
                self.head = Some(status_line(line).ok_or(BadHead::NotHttp)?);
            }
            return Ok(None);
        };
        if line.is_empty() {
            if let Some((name, value)) = self.field.take() {
                head.take(&name, &value);
            }
            let head = self.head.take();
            return match head {
                Some(head) if head.is_interim() => {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(BadHead::TooManyInterim);
                    }
                    Ok(None)
                }
                head => Ok(head),
            };
        }
        self.lines += 1;
        if self.lines > MAX_HEAD_LINES {
            return Err(BadHead::TooManyLines);
        }
        if matches!(line[0], b' ' | b'\t') {
            if let Some((_, value)) = &mut self.field
                && value.len() < MAX_VALUE_BYTES
            {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            return Ok(None);
        }
        if let Some((name, value)) = self.field.take() {
            head.take(&name, &value);
        }
        if let Some(colon) = memchr(b':', line) {
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            self.field = Some((name.to_vec(), value.to_vec()));
        }
        Ok(None)
    }
}

const VERSION: &[u8] = b"HTTP/1.";

fn may_be_status_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let length = line.len().min(VERSION.len());
    line[..length].eq_ignore_ascii_case(&VERSION[..length])
}

/// Reads `HTTP/1.1 200 OK`; the reason may be missing, and blanks may be many.
fn status_line(line: &[u8]) -> Option<ResponseHead> {
    let line = line.trim_ascii_start();
    if !may_be_status_line(line) {
        return None;
    }
    let (minor, rest) = line.get(VERSION.len()..)?.split_first()?;
    let rest = rest
        .strip_prefix(b" ")
        .or_else(|| rest.strip_prefix(b"\t"))?
        .trim_ascii_start();
    let code = rest.split(|byte| byte.is_ascii_whitespace()).next()?;
    let status = digits(code).filter(|status| code.len() == 3 && *status >= 100)?;
    Some(ResponseHead {
        status: u16::try_from(status).ok()?,
        is_http_1_1: minor.is_ascii_digit() && *minor >= b'1',
        ..ResponseHead::default()
    })
}

#[cfg(test)]
mod tests;
