//! Jobs and answers, and their bytes on the wire: little-endian numbers of 64 bits, and byte strings after their length.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;

/// Whole lines of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path of the file, which is the same on every machine.
    pub path: OsString,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
    /// The bytes, if they travel with the job.
    pub text: Option<Vec<u8>>,
}

/// A piece of work: some parts, in the order of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The number of the coordinator that made the job.
    pub coordinator: u64,
    /// The position in the output, from 0 on without gaps.
    pub seq: u64,
    /// The pattern for which the coordinator searches.
    pub pattern: Vec<u8>,
    /// The parts to search.
    pub parts: Vec<Part>,
}

/// The selected lines of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The number of line feeds in the part.
    pub newlines: u64,
    /// The selected lines, packed: number within the part and length (32 bits each), then the bytes.
    lines: Vec<u8>,
}

/// The answer to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the coordinator that made the job.
    pub coordinator: u64,
    /// The `seq` of the job.
    pub seq: u64,
    /// The selected lines of each part, or the reason for which the worker has none.
    pub outcome: Result<Vec<Found>, String>,
}

impl Found {
    /// Adds a line without its line feed. `number` is 0 for the first line of the part.
    pub fn add(&mut self, number: u32, line: &[u8]) {
        let length = u32::try_from(line.len()).expect("a part is shorter than 4 GiB");
        self.lines.extend(number.to_le_bytes());
        self.lines.extend(length.to_le_bytes());
        self.lines.extend(line);
    }

    /// Returns the number of bytes of the selected lines on the wire.
    pub fn size(&self) -> usize {
        self.lines.len()
    }

    /// Returns the selected lines with their numbers within the part.
    ///
    /// # Errors
    ///
    /// `InvalidData` as an item if the packed bytes end within a line; the iterator ends there.
    pub fn lines(&self) -> impl Iterator<Item = io::Result<(u32, &[u8])>> {
        let mut rest = Reader(&self.lines);
        std::iter::from_fn(move || {
            if rest.0.is_empty() {
                return None;
            }
            let line = rest.line();
            if line.is_err() {
                rest.0 = &[];
            }
            Some(line)
        })
    }
}

impl Job {
    /// Returns the bytes of the job.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        put(&mut packed, self.coordinator);
        put(&mut packed, self.seq);
        put_bytes(&mut packed, &self.pattern);
        put(&mut packed, self.parts.len() as u64);
        for part in &self.parts {
            put_bytes(&mut packed, part.path.as_bytes());
            put(&mut packed, part.offset);
            put(&mut packed, part.length);
            put(&mut packed, u64::from(part.text.is_some()));
            if let Some(text) = &part.text {
                put_bytes(&mut packed, text);
            }
        }
        packed
    }

    /// Returns the job that `packed` holds.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the bytes are not those of a job.
    pub fn unpack(packed: &[u8]) -> io::Result<Job> {
        let mut rest = Reader(packed);
        let (coordinator, seq, pattern) = (rest.number()?, rest.number()?, rest.bytes()?.to_vec());
        let parts = (0..rest.number()?).map(|_| rest.part()).collect::<io::Result<_>>()?;
        rest.end(Job { coordinator, seq, pattern, parts })
    }

    /// Returns the number of bytes to search.
    pub fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }
}

/// The name of a job in messages: its file with the range of bytes, or its first and last files.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else {
            return write!(f, "job {}", self.seq);
        };
        write!(f, "{}: bytes {} to {}", first.path.display(), first.offset, first.offset + first.length)?;
        if self.parts.len() > 1 {
            write!(f, ", and what follows up to {}: byte {}", last.path.display(), last.offset + last.length)?;
        }
        Ok(())
    }
}

impl Answer {
    /// Returns the bytes of the answer.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        put(&mut packed, self.coordinator);
        put(&mut packed, self.seq);
        match &self.outcome {
            Ok(found) => {
                put(&mut packed, 1);
                put(&mut packed, found.len() as u64);
                for found in found {
                    put(&mut packed, found.newlines);
                    put_bytes(&mut packed, &found.lines);
                }
            }
            Err(reason) => {
                put(&mut packed, 0);
                put_bytes(&mut packed, reason.as_bytes());
            }
        }
        packed
    }

    /// Returns the answer that `packed` holds.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the bytes are not those of an answer.
    pub fn unpack(packed: &[u8]) -> io::Result<Answer> {
        let mut rest = Reader(packed);
        let (coordinator, seq) = (rest.number()?, rest.number()?);
        let outcome = match rest.number()? {
            0 => Err(String::from_utf8_lossy(rest.bytes()?).into_owned()),
            _ => Ok((0..rest.number()?).map(|_| rest.found()).collect::<io::Result<_>>()?),
        };
        rest.end(Answer { coordinator, seq, outcome })
    }
}

fn put(packed: &mut Vec<u8>, number: u64) {
    packed.extend(number.to_le_bytes());
}

fn put_bytes(packed: &mut Vec<u8>, bytes: &[u8]) {
    put(packed, bytes.len() as u64);
    packed.extend(bytes);
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?.try_into().map_err(|_| malformed())?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn short(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?.try_into().map_err(|_| malformed())?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| malformed())?;
        self.take(length)
    }

    fn part(&mut self) -> io::Result<Part> {
        let path = OsStr::from_bytes(self.bytes()?).to_owned();
        let (offset, length) = (self.number()?, self.number()?);
        let text = if self.number()? == 1 { Some(self.bytes()?.to_vec()) } else { None };
        Ok(Part { path, offset, length, text })
    }

    fn found(&mut self) -> io::Result<Found> {
        Ok(Found { newlines: self.number()?, lines: self.bytes()?.to_vec() })
    }

    fn line(&mut self) -> io::Result<(u32, &'a [u8])> {
        let (number, length) = (self.short()?, self.short()?);
        Ok((number, self.take(length as usize)?))
    }

    fn end<T>(&self, value: T) -> io::Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(malformed()) }
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the message is not one of this version of dgrep")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn job() -> Job {
        let path = OsString::from_vec(b"a \xff file".to_vec());
        let part = Part { path, offset: 7, length: 3, text: None };
        let with_text = Part { text: Some(b"a\0\n".to_vec()), ..part.clone() };
        Job { coordinator: 1, seq: u64::MAX, pattern: b"x".to_vec(), parts: vec![part, with_text] }
    }

    fn answers() -> Vec<Answer> {
        let mut found = Found { newlines: 9, ..Found::default() };
        found.add(3, b"a line");
        found.add(4, b"");
        let outcomes = [Ok(vec![found, Found::default()]), Ok(vec![]), Err("no such file".to_owned())];
        outcomes.map(|outcome| Answer { coordinator: 1, seq: 2, outcome }).to_vec()
    }

    #[test]
    fn unpacked_messages_equal_the_packed() {
        assert_eq!(Job::unpack(&job().pack()).unwrap(), job());
        for answer in answers() {
            assert_eq!(Answer::unpack(&answer.pack()).unwrap(), answer);
        }
    }

    /// No part of a message, and no message with a byte more, is taken for a message.
    #[test]
    fn cut_messages_are_refused() {
        let job = job().pack();
        for length in 0..job.len() {
            assert_eq!(Job::unpack(&job[..length]).unwrap_err().kind(), ErrorKind::InvalidData, "{length}");
        }
        assert!(Job::unpack(&[job, vec![0]].concat()).is_err());
        for answer in answers() {
            let packed = answer.pack();
            assert!((0..packed.len()).all(|length| Answer::unpack(&packed[..length]).is_err()));
            assert!(Answer::unpack(&[packed, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn lines_are_those_added() {
        let [Answer { outcome: Ok(found), .. }, ..] = &answers()[..] else { panic!("no lines") };
        let lines: Vec<_> = found[0].lines().map(Result::unwrap).collect();
        assert_eq!(lines, [(3, &b"a line"[..]), (4, b"")]);
        let cut = Found { newlines: 0, lines: found[0].lines[..10].to_vec() };
        assert_eq!(cut.lines().filter(Result::is_err).count(), 1);
    }
}
