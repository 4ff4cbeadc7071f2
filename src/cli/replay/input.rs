//! The file that is replayed, plain or gzip, or stdin.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use flate2::bufread::MultiGzDecoder;

use crate::ingest::access_log::{AccessLogReader, Skip};
use crate::ingest::replay_file::{Parsed, ReplayLineReader};

/// Longest line read.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Bytes read ahead.
const BUFFER_BYTES: usize = 1 << 20;
/// Lines from which the kind of a file is known.
const FIRST_LINES: usize = 10;
/// First bytes of every gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// First bytes of files that are packed in another way.
const OTHER_ARCHIVES: [(&[u8], &str); 7] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x9d", "compress"),
];

/// Lines of a file or of stdin.
pub(super) struct Input {
    name: String,
    /// Bytes of the file; unknown for stdin.
    size: Option<u64>,
    /// Bytes of the file that were taken, ahead of the lines.
    consumed: Rc<Cell<u64>>,
    /// Bytes of the lines that were returned, as they are unpacked.
    returned: u64,
    lines: BufReader<Box<dyn Read>>,
    line: u64,
}

/// The kind of a file, by its first lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstLines {
    Events,
    AccessLog,
    Unknown,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new("stdin".to_owned(), None, io::stdin().lock());
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| cannot_be_read(&name))?;
        let size = file.metadata().map(|metadata| metadata.len()).ok();
        Self::new(name, size, file)
    }

    fn new(name: String, size: Option<u64>, from: impl Read + 'static) -> anyhow::Result<Self> {
        let consumed = Rc::new(Cell::new(0));
        let mut raw = CountingReader {
            from: BufReader::new(from),
            count: Rc::clone(&consumed),
        };
        let start = raw.fill_buf().with_context(|| cannot_be_read(&name))?;
        if let Some((_, kind)) = OTHER_ARCHIVES.iter().find(|(magic, _)| start.starts_with(magic)) {
            bail!("{name} is packed with {kind}: `replay` reads plain text and gzip, so unpack it first");
        }
        let text: Box<dyn Read> = if start.starts_with(&GZIP_MAGIC) {
            Box::new(MultiGzDecoder::new(raw))
        } else {
            Box::new(raw)
        };
        Ok(Self {
            name,
            size,
            consumed,
            returned: 0,
            lines: BufReader::with_capacity(BUFFER_BYTES, text),
            line: 0,
        })
    }

    /// The file's path, or `stdin`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file, if it is one.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes of the file in which the lines lie that were returned. Inside gzip it is as exact as
    /// the file is packed evenly.
    pub(super) fn position(&self) -> u64 {
        let ahead = self.lines.buffer().len() as u64;
        let unpacked = self.returned + ahead;
        match u128::from(self.consumed.get()) * u128::from(self.returned) / u128::from(unpacked.max(1)) {
            position if ahead > 0 => u64::try_from(position).unwrap_or(u64::MAX),
            _ => self.consumed.get(),
        }
    }

    /// The kind of the file, without taking any line.
    pub(super) fn first_lines(&mut self) -> anyhow::Result<FirstLines> {
        let start = self
            .lines
            .fill_buf()
            .with_context(|| cannot_be_read(&self.name))?;
        Ok(kind_of(start))
    }

    /// Reads the next line, with its end; false at the end of the file.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>) -> anyhow::Result<bool> {
        line.clear();
        let read = (&mut self.lines)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', line)
            .with_context(|| cannot_be_read(&self.name))?;
        self.line += 1;
        self.returned += read as u64;
        if read as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") {
            bail!(
                "line {} of {} is longer than {MAX_LINE_BYTES} bytes",
                self.line,
                self.name
            );
        }
        Ok(read > 0)
    }
}

fn cannot_be_read(name: &str) -> String {
    format!("{name} cannot be read")
}

fn kind_of(start: &[u8]) -> FirstLines {
    let log = AccessLogReader::new([0; 16], None);
    let events = ReplayLineReader::events(None);
    for line in start.split(|byte| *byte == b'\n').take(FIRST_LINES) {
        if matches!(events.read(line), Parsed::Event { .. }) {
            return FirstLines::Events;
        }
        let is_log =
            std::str::from_utf8(line).is_ok_and(|line| !matches!(log.read(line), Err(Skip::Unreadable)));
        if is_log {
            return FirstLines::AccessLog;
        }
    }
    FirstLines::Unknown
}

/// Counts the bytes that are taken out of a buffer.
struct CountingReader<R> {
    from: R,
    count: Rc<Cell<u64>>,
}

impl<R> CountingReader<R> {
    fn add(&self, bytes: usize) {
        self.count.set(self.count.get() + bytes as u64);
    }
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.add(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for CountingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn lines_of(bytes: Vec<u8>) -> anyhow::Result<Vec<String>> {
        let mut input = Input::new("x".to_owned(), None, Cursor::new(bytes))?;
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while input.read_line(&mut line)? {
            lines.push(String::from_utf8(line.clone()).expect("UTF-8"));
        }
        Ok(lines)
    }

    #[test]
    fn gzip_is_read_as_what_it_holds_also_in_several_parts() {
        let parts = [gzip("a\nb"), gzip("c\n")].concat();
        assert_eq!(lines_of(parts).expect("readable"), ["a\n", "bc\n"]);
        assert_eq!(lines_of(b"a\nb".to_vec()).expect("readable"), ["a\n", "b"]);
        assert!(lines_of(gzip("a\nb")[..15].to_vec()).is_err());
        assert_eq!(lines_of(Vec::new()).expect("readable"), [""; 0]);
    }

    #[test]
    fn the_position_is_of_lines_taken_not_of_what_is_read_ahead() {
        let text: String = (0..10_000_u64)
            .map(|n| format!("{:020}\n", n * 7_919 * 104_729 % 1_000_003))
            .collect();
        for (bytes, tolerance) in [(text.clone().into_bytes(), 0), (gzip(&text), 3)] {
            let size = bytes.len() as u64;
            let tolerance = size * tolerance / 100;
            let mut input = Input::new("x".to_owned(), Some(size), Cursor::new(bytes)).expect("readable");
            let mut line = Vec::new();
            assert_eq!(input.position() * 100 / size, 0);
            for quarter in 1..=4 {
                for _ in 0..2_500 {
                    assert!(input.read_line(&mut line).expect("readable"));
                }
                let wanted = size * quarter / 4;
                assert!(
                    input.position().abs_diff(wanted) <= tolerance,
                    "{} {wanted}",
                    input.position()
                );
            }
        }
    }

    #[test]
    fn a_file_packed_otherwise_is_refused_by_its_first_bytes() {
        for (magic, kind) in OTHER_ARCHIVES {
            let error = lines_of([magic, b"\n\n"].concat()).expect_err(kind).to_string();
            assert!(
                error.contains(&format!("packed with {kind}")) && error.contains("gzip"),
                "{error}"
            );
        }
        // Letters alone are text.
        for text in ["BZ\n", "PK\n", "7z\n"] {
            assert_eq!(lines_of(text.into()).expect("readable"), [text]);
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let error = lines_of(vec![b'x'; (MAX_LINE_BYTES + 1) as usize]).expect_err("too long");
        assert!(error.to_string().contains("line 1 of x is longer"), "{error}");
    }

    #[test]
    fn an_access_log_is_told_by_its_first_lines() {
        let log = "::1 - - [01/Mar/2024:00:00:00 +0000] \"GET /a.css HTTP/1.1\" 200 1 \"-\" \"-\"\n";
        let event = "{\"site_id\":\"a\",\"type\":\"goal\",\"name\":\"x\"}\n";
        for (text, kind) in [
            (log.to_owned(), FirstLines::AccessLog),
            (format!("\n# comment\n{log}"), FirstLines::AccessLog),
            (event.to_owned(), FirstLines::Events),
            (format!("{{}}\n{event}{log}"), FirstLines::Events),
            ("hello\n".to_owned(), FirstLines::Unknown),
            (String::new(), FirstLines::Unknown),
        ] {
            assert_eq!(kind_of(text.as_bytes()), kind, "{text}");
        }
    }
}
