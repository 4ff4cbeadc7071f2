//! Finds the end of a response's body, and the content within its chunks.

use super::head::Framing;

/// Longest line of a chunk's size, and most bytes of trailers.
const MAX_LINE_BYTES: usize = 4_096;

/// A body whose framing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBody;

/// Reads a body from pieces of any size.
#[derive(Debug)]
pub(super) struct BodyReader(Framed);

#[derive(Debug)]
enum Framed {
    UntilClose,
    /// Bytes that are still to come.
    Length(u64),
    /// The line of a chunk's size, so far.
    Size(Vec<u8>),
    /// Bytes of the chunk that are still to come.
    Chunk(u64),
    /// The line end after a chunk; true after its carriage return.
    ChunkEnd,
    /// Length of the trailers so far, and of their last line.
    Trailers {
        bytes: usize,
        line: usize,
    },
    Ended,
}

impl BodyReader {
    pub(super) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Empty => Framed::Ended,
            Framing::Length(length) => Framed::Length(length),
            Framing::Chunked => Framed::Size(Vec::new()),
            Framing::UntilClose => Framed::UntilClose,
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.0, Framed::Ended)
    }

    /// True if the end of the connection is the end of this body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, Framed::UntilClose | Framed::Ended)
    }

    /// Reads on, hands content to `take`, and returns the number of bytes that belong to the body.
    pub(super) fn read(&mut self, piece: &[u8], mut take: impl FnMut(&[u8])) -> Result<usize, BadBody> {
        let mut at = 0;
        while at < piece.len() && !self.has_ended() {
            let rest = &piece[at..];
            at += match &mut self.0 {
                Framed::UntilClose => {
                    take(rest);
                    rest.len()
                }
                Framed::Length(left) => {
                    let (taken, ended) = take_up_to(left, rest, &mut take);
                    if ended {
                        self.0 = Framed::Ended;
                    }
                    taken
                }
                Framed::Chunk(left) => {
                    let (taken, ended) = take_up_to(left, rest, &mut take);
                    if ended {
                        self.0 = Framed::ChunkEnd;
                    }
                    taken
                }
                _ => self.read_framing(rest[0])?,
            };
        }
        Ok(at)
    }

    /// Reads one byte that is not content.
    fn read_framing(&mut self, byte: u8) -> Result<usize, BadBody> {
        match (&mut self.0, byte) {
            (Framed::Size(line), b'\n') => {
                self.0 = match chunk_size(line).ok_or(BadBody)? {
                    0 => Framed::Trailers { bytes: 0, line: 0 },
                    size => Framed::Chunk(size),
                };
            }
            (Framed::Size(line), byte) if line.len() < MAX_LINE_BYTES => line.push(byte),
            (Framed::ChunkEnd, b'\r') => {}
            (Framed::ChunkEnd, b'\n') => self.0 = Framed::Size(Vec::new()),
            (Framed::Trailers { line: 0, .. }, b'\n') => self.0 = Framed::Ended,
            (Framed::Trailers { bytes, line }, byte) if *bytes < MAX_LINE_BYTES => {
                *bytes += 1;
                match byte {
                    b'\n' => *line = 0,
                    b'\r' => {}
                    _ => *line += 1,
                }
            }
            _ => return Err(BadBody),
        }
        Ok(1)
    }
}

/// Hands on what is left of a stretch of content, or all of `rest`. Returns how much that was, and
/// if the stretch ended.
fn take_up_to(left: &mut u64, rest: &[u8], take: &mut impl FnMut(&[u8])) -> (usize, bool) {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
    take(&rest[..length]);
    *left -= length as u64;
    (length, *left == 0)
}

/// Reads a chunk's size; extensions after `;` are passed over.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let is_number = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(size).ok().filter(|_| is_number)?, 16).ok()
}

#[cfg(test)]
mod tests;
