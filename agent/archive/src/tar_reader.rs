//! Entries of a tar stream, one after the other, with names, types and sizes checked.
//!
//! Understood are the formats v7, ustar, GNU (long names) and PAX (POSIX.1-2008, `pax`, "pax Interchange
//! Format"). The decoding of header fields is the `tar` crate's; which header is believed is decided
//! here: where two readers could disagree about an entry's name, type or size, the archive is refused.

use trimaran_model::limits::ARCHIVE_EXTENSION_BYTES_MAX;

use crate::name::{Name, show};
use crate::stream::{Source, Stream, checksum_is_right};
use crate::{ArchiveError, ArchiveLimits, Place};

const BLOCK: usize = 512;
/// setuid and setgid.
const PRIVILEGE_BITS: u32 = 0o6000;

/// One entry: what it says of itself is consistent and within the limits.
#[derive(Debug)]
pub struct Entry {
    pub name: Name,
    pub kind: Kind,
    /// Permission bits as the archive has them.
    pub mode: u32,
    /// Seconds since the Unix epoch.
    pub modified: i64,
}

#[derive(Debug)]
pub enum Kind {
    File {
        size: u64,
    },
    Directory,
    /// To this path, as the archive spells it: it may lead anywhere.
    Symlink(Vec<u8>),
    /// To a path of the archive.
    HardLink(Name),
}

impl Kind {
    /// Bytes of its contents.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size } => *size,
            Self::Directory | Self::Symlink(_) | Self::HardLink(_) => 0,
        }
    }
}

/// Reads entries.
pub struct TarReader {
    stream: Stream,
    limits: ArchiveLimits,
    place: Place,
    /// Bytes of the current entry that were not read yet, and zeros behind them up to the block.
    unread: u64,
    padding: u64,
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl TarReader {
    /// Begins at the start of `source`, which has `packed_bytes`; `name` stands in errors.
    ///
    /// # Errors
    /// When it can't be read or its first bytes are of no archive.
    pub fn new(
        name: String,
        source: Box<dyn Source>,
        packed_bytes: u64,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let stream = Stream::new(name, source, packed_bytes, limits)?;
        Ok(Self { stream, limits: limits.clone(), place: Place::default(), unread: 0, padding: 0 })
    }

    /// Where the last entry begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Goes to the next entry, past what was not read of the present one; `None` is a proper end with nothing hidden
    /// behind it.
    ///
    /// # Errors
    /// When it is not what it claims to be, or over a limit.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extension = Extension::default();
        let mut extensions = 0;
        loop {
            let Some(header) = self.next_header()? else {
                if extensions > 0 {
                    return Err(self.corrupt("it ends between an extension header and its entry"));
                }
                return Ok(None);
            };
            match header.entry_type().as_byte() {
                b'g' => self.global_extension()?,
                b'x' | b'L' | b'K' => {
                    extensions += 1;
                    if extensions > 4 {
                        return Err(self.corrupt("more than four extension headers before one entry"));
                    }
                    let data = self.extension_data()?;
                    self.extend(&mut extension, header.entry_type().as_byte(), data)?;
                }
                _ => return self.entry(&header, extension).map(Some),
            }
        }
    }

    /// Reads contents of the current entry; zero when it is read whole.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let want = buffer.len().min(usize::try_from(self.unread).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.stream.read(&mut buffer[..want], self.place)?;
        if count == 0 {
            return Err(self.corrupt("it is cut off in the middle of a file"));
        }
        self.unread -= count as u64;
        Ok(count)
    }

    fn next_header(&mut self) -> Result<Option<tar::Header>, ArchiveError> {
        let mut scratch = [0; 16 * BLOCK];
        while self.read(&mut scratch)? > 0 {}
        let padding = usize::try_from(self.padding).expect("less than a block");
        if self.stream.read_full(&mut scratch[..padding], self.place)? < padding {
            return Err(self.corrupt("it is cut off behind a file"));
        }
        self.padding = 0;
        let offset = self.stream.position();
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        match self.stream.read_full(block, self.place)? {
            BLOCK => {}
            0 => return Err(self.corrupt("it is cut off: its end mark is missing")),
            _ => return Err(self.corrupt("it is cut off in the middle of a header")),
        }
        if block.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        self.place = Place { entry: self.place.entry + 1, offset };
        if self.place.entry > self.limits.entries {
            let detail = format!("more than {} entries", self.limits.entries);
            return Err(ArchiveError::Limit { detail, place: self.place });
        }
        if !checksum_is_right(header.as_bytes()) {
            return Err(self.corrupt("a header's checksum is wrong"));
        }
        let size = header.entry_size().map_err(|_| self.corrupt("a header's size is not a number"))?;
        if size > self.limits.unpacked_bytes {
            let detail = format!("an entry of {size} bytes, more than {}", self.limits.unpacked_bytes);
            return Err(ArchiveError::Limit { detail, place: self.place });
        }
        self.unread = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(Some(header))
    }

    /// Behind the end mark there may be zeros and nothing else.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut scratch = [0; 16 * BLOCK];
        loop {
            let count = self.stream.read(&mut scratch, self.place)?;
            if count == 0 {
                return Ok(());
            }
            if scratch[..count].iter().any(|byte| *byte != 0) {
                return Err(self.corrupt("there is something behind its end mark"));
            }
        }
    }

    fn extension_data(&mut self) -> Result<Vec<u8>, ArchiveError> {
        if self.unread > ARCHIVE_EXTENSION_BYTES_MAX as u64 {
            let detail = format!(
                "an extension header of {} bytes, more than {ARCHIVE_EXTENSION_BYTES_MAX}",
                self.unread
            );
            return Err(ArchiveError::Limit { detail, place: self.place });
        }
        let mut data = vec![0; usize::try_from(self.unread).expect("checked above")];
        if self.stream.read_full(&mut data, self.place)? < data.len() {
            return Err(self.corrupt("it is cut off in an extension header"));
        }
        self.unread = 0;
        Ok(data)
    }

    fn extend(&self, extension: &mut Extension, kind: u8, mut data: Vec<u8>) -> Result<(), ArchiveError> {
        if kind == b'x' {
            for (key, value) in pax_records(&data).ok_or_else(|| self.corrupt("malformed PAX records"))? {
                match key {
                    b"path" => extension.path = Some(value.to_vec()),
                    b"linkpath" => extension.link = Some(value.to_vec()),
                    b"size" => extension.size = Some(self.pax_size(value)?),
                    _ if key.starts_with(b"GNU.sparse.") => return Err(self.escape("a sparse file")),
                    // Times, owners, comments and attributes.
                    _ => {}
                }
            }
            return Ok(());
        }
        if data.last() == Some(&0) {
            data.pop();
        }
        // PAX wins whatever the order, as in GNU tar.
        let field = if kind == b'L' { &mut extension.path } else { &mut extension.link };
        field.get_or_insert(data);
        Ok(())
    }

    fn pax_size(&self, value: &[u8]) -> Result<u64, ArchiveError> {
        let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        size.ok_or_else(|| self.corrupt("a PAX size that is not a number"))
    }

    /// A global header may hold a comment; one that changes names or sizes is read differently by
    /// different programs.
    fn global_extension(&mut self) -> Result<(), ArchiveError> {
        let data = self.extension_data()?;
        let records = pax_records(&data).ok_or_else(|| self.corrupt("malformed PAX records"))?;
        let changes =
            |key: &[u8]| matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
        match records.iter().find(|(key, _)| changes(key)) {
            Some((key, _)) => Err(self.corrupt(&format!("a global PAX record `{}`", show(key)))),
            None => Ok(()),
        }
    }

    fn entry(&mut self, header: &tar::Header, extension: Extension) -> Result<Entry, ArchiveError> {
        let raw_name = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = Name::parse(&raw_name, self.limits.depth).map_err(|error| error.at(self.place))?;
        if extension.size.is_some_and(|size| size != self.unread) {
            return Err(self.corrupt(&format!("two sizes of `{}`", show(&raw_name))));
        }
        let link = |extended: Option<Vec<u8>>| {
            extended.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned())
        };
        let kind = match header.entry_type().as_byte() {
            // Before ustar a directory was a file whose name ends with a slash.
            b'0' | 0 | b'7' if raw_name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File { size: self.unread },
            b'5' => Kind::Directory,
            b'2' => Kind::Symlink(link(extension.link)),
            b'1' => {
                let target = Name::parse(&link(extension.link), self.limits.depth);
                Kind::HardLink(target.map_err(|error| error.at(self.place))?)
            }
            other => return Err(self.escape(&format!("`{}` is {}", show(&raw_name), type_name(other)))),
        };
        if !matches!(kind, Kind::File { .. }) && self.unread != 0 {
            return Err(self.corrupt(&format!("`{}` has contents but is not a file", show(&raw_name))));
        }
        if name.is_root() && !matches!(kind, Kind::Directory) {
            return Err(self.escape("an entry in the place of the release directory itself"));
        }
        let mode = header.mode().map_err(|_| self.corrupt("a header's mode is not a number"))?;
        // A link has no mode of its own.
        if mode & PRIVILEGE_BITS != 0 && !matches!(kind, Kind::Symlink(_)) {
            let detail = format!("`{}` is setuid or setgid (mode {:04o})", show(&raw_name), mode & 0o7777);
            return Err(self.escape(&detail));
        }
        let modified = header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
        Ok(Entry { name, kind, mode, modified })
    }

    pub fn corrupt(&self, detail: &str) -> ArchiveError {
        ArchiveError::Corrupt { detail: detail.to_owned(), place: self.place }
    }

    pub fn escape(&self, detail: &str) -> ArchiveError {
        ArchiveError::Escape { detail: detail.to_owned(), place: self.place }
    }
}

fn type_name(byte: u8) -> String {
    match byte {
        b'3' => "a character device".to_owned(),
        b'4' => "a block device".to_owned(),
        b'6' => "a fifo".to_owned(),
        b'S' => "a sparse file".to_owned(),
        b'M' | b'V' => "a part of an archive in several volumes".to_owned(),
        other => format!("of the unknown type `{}`", show(&[other])),
    }
}

/// Records `LENGTH KEY=VALUE\n`, where the length counts the whole record. Values may hold line breaks.
fn pax_records(mut data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
        let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        data = &data[length..];
    }
    Some(records)
}
