//! A file of an archive: what was recorded on one day, as compressed JSON lines.
//!
//! It is written under a name of its own and given its place only once it is whole and on the disk. A file
//! that is in that place already, from a run that got no further or to which something came later, is taken
//! in line by line, each line once. So a file is there whole or not at all, and doing it again changes
//! nothing.
//!
//! All of it waits for the disk: no place for a thread that others wait for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::line::{Line, Place};

/// A file that is being written. Dropped before it is in its place, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct ArchiveFile {
    target: PathBuf,
    temporary: Temporary,
    writer: GzEncoder<BufWriter<File>>,
    earlier: Earlier,
    lines: u64,
    written_to: Option<Place>,
}

/// A file that is whole and on the disk, and not in its place yet. Who writes it can make sure first that
/// nobody else does by now.
#[derive(Debug)]
pub(crate) struct SealedFile {
    target: PathBuf,
    temporary: Temporary,
    earlier: Earlier,
    written: Written,
}

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Lines in it now.
    pub lines: u64,
    /// Its size.
    pub bytes: u64,
}

impl ArchiveFile {
    /// Begins the file of a table and a day in a folder, which is made if it is not there. Only one writer
    /// should be at it; one that took its right to be so for lasting writes under another number, and so does
    /// no harm.
    pub(crate) fn begin(folder: &Path, table: &str, day: NaiveDate, writer: i64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!("{table}-{day}.jsonl.gz");
        let target = folder.join(&name);
        let earlier = Earlier::open(&target)?;
        let temporary = Temporary(folder.join(format!(".{name}.{writer}.tmp")));
        remove_left(folder, &format!(".{name}."), &temporary.0)?;
        let file = private().write(true).create(true).truncate(true).open(&temporary.0)?;
        let writer = GzEncoder::new(BufWriter::new(file), Compression::fast());
        Ok(Self { target, temporary, writer, earlier, lines: 0, written_to: None })
    }

    /// Adds lines, which come in the order of their places.
    pub(crate) fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            while let Some(earlier) = self.earlier.next_up_to(line.place)? {
                self.put(&earlier)?;
            }
            self.put(line)?;
        }
        Ok(())
    }

    /// Ends the file. Before this returns all of it is on the disk.
    pub(crate) fn seal(mut self) -> io::Result<SealedFile> {
        while let Some(earlier) = self.earlier.next()? {
            self.put(&earlier)?;
        }
        let Self { target, temporary, writer, earlier, lines, .. } = self;
        let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let written = Written { lines, bytes: file.metadata()?.len() };
        Ok(SealedFile { target, temporary, earlier, written })
    }

    fn put(&mut self, line: &Line) -> io::Result<()> {
        match self.written_to {
            Some(place) if place == line.place => return Ok(()),
            Some(place) if place > line.place => {
                return Err(invalid(&self.target, "its lines are not in order"));
            }
            _ => {}
        }
        self.writer.write_all(line.json.as_bytes())?;
        self.writer.write_all(b"\n")?;
        self.written_to = Some(line.place);
        self.lines += 1;
        Ok(())
    }
}

impl SealedFile {
    /// Puts the file in its place.
    pub(crate) fn put(self) -> io::Result<Written> {
        if !self.earlier.is_still_there(&self.target)? {
            return Err(io::Error::other("somebody else has written the file meanwhile"));
        }
        fs::rename(&self.temporary.0, &self.target)?;
        sync_folder(&self.target)?;
        Ok(self.written)
    }
}

/// Removes what earlier writers of a file left that were killed; one that is still at it fails in the end.
fn remove_left(folder: &Path, prefix: &str, own: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let is_left = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with("tmp"));
        if is_left && path != own {
            fs::remove_file(path).ok();
        }
    }
    Ok(())
}

/// Removes what was not finished.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Where it was renamed there is none.
        fs::remove_file(&self.0).ok();
    }
}

/// The lines of the file that is there already.
#[derive(Debug)]
struct Earlier {
    path: PathBuf,
    reader: Option<BufReader<MultiGzDecoder<BufReader<File>>>>,
    /// Its size; none if there was no file.
    bytes: Option<u64>,
    ahead: Option<Line>,
}

impl Earlier {
    fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, reader: None, bytes: None, ahead: None });
            }
            Err(error) => return Err(error),
        };
        let bytes = Some(file.metadata()?.len());
        let reader = Some(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
        Ok(Self { path, reader, bytes, ahead: None })
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let mut json = String::new();
        if reader.read_line(&mut json).map_err(|error| invalid(&self.path, &error.to_string()))? == 0 {
            self.reader = None;
            return Ok(None);
        }
        json.truncate(json.trim_end().len());
        let place = Place::read(&json).ok_or_else(|| invalid(&self.path, "a line is none of an archive"))?;
        Ok(Some(Line { place, json }))
    }

    /// The next line, unless it stands behind `place`.
    fn next_up_to(&mut self, place: Place) -> io::Result<Option<Line>> {
        let Some(line) = self.next()? else { return Ok(None) };
        if line.place <= place {
            return Ok(Some(line));
        }
        self.ahead = Some(line);
        Ok(None)
    }

    /// Whether the file is as it was found.
    fn is_still_there(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(now) => Ok(self.bytes == Some(now.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.bytes.is_none()),
            Err(error) => Err(error),
        }
    }
}

/// What is in the place of a file is none of ours, or spoilt: nobody writes over it.
fn invalid(path: &Path, reason: &str) -> io::Error {
    let message = format!("{} cannot be added to: {reason}; move it away", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A file that nobody else may read: it holds what the database did.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A file's name is on the disk once its folder is.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::random_u128;

    /// A folder that is removed with all it holds.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("monitoring-archive-{:032x}", random_u128()));
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn read(&self) -> Vec<i64> {
            let file = BufReader::new(File::open(self.0.join(NAME)).unwrap());
            let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
            let time = |line: String| match Place::read(&line) {
                Some(Place::Sample(_, time, _)) => time,
                other => panic!("{other:?}"),
            };
            lines.map(|line| time(line.unwrap())).collect()
        }

        fn begin(&self) -> io::Result<ArchiveFile> {
            self.begin_as(7)
        }

        fn begin_as(&self, writer: i64) -> io::Result<ArchiveFile> {
            ArchiveFile::begin(&self.0, "metric_samples", "2026-06-15".parse().unwrap(), writer)
        }

        fn write(&self, times: impl IntoIterator<Item = i64>) -> io::Result<Written> {
            let mut file = self.begin()?;
            file.write(&lines(times))?;
            file.seal()?.put()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const NAME: &str = "metric_samples-2026-06-15.jsonl.gz";

    fn lines(times: impl IntoIterator<Item = i64>) -> Vec<Line> {
        let line = |time| {
            let at = chrono::DateTime::from_timestamp_micros(time).unwrap();
            let json = serde_json::json!({"series": "1", "timestamp": at, "origin": "0"}).to_string();
            Line { place: Place::Sample(1, time, 0), json }
        };
        times.into_iter().map(line).collect()
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = Folder::new();
        let mut file = folder.begin().unwrap();
        file.write(&lines(0..10_000)).unwrap();
        assert_eq!(folder.names(), [format!(".{NAME}.7.tmp")]);
        drop(file);
        assert!(folder.names().is_empty());
        // As one that was killed leaves it.
        for left in [format!(".{NAME}.6.tmp"), format!(".{NAME}.7.tmp"), format!(".{NAME}.tmp")] {
            fs::write(folder.0.join(left), [7; 9_999]).unwrap();
        }
        let written = folder.write(0..10_000).unwrap();
        assert_eq!(folder.names(), [NAME]);
        assert_eq!(folder.read(), Vec::from_iter(0..10_000));
        let bytes = fs::metadata(folder.0.join(NAME)).unwrap().len();
        assert_eq!(written, Written { lines: 10_000, bytes });
    }

    #[test]
    fn what_comes_later_is_added_and_what_comes_again_is_not() {
        let folder = Folder::new();
        folder.write([2, 4, 6]).unwrap();
        let once = fs::read(folder.0.join(NAME)).unwrap();
        folder.write([2, 4, 6]).unwrap();
        assert_eq!(fs::read(folder.0.join(NAME)).unwrap(), once);
        folder.write([1, 4, 5, 9]).unwrap();
        assert_eq!(folder.read(), [1, 2, 4, 5, 6, 9]);
        folder.write([]).unwrap();
        assert_eq!(folder.read(), [1, 2, 4, 5, 6, 9]);
    }

    #[test]
    fn what_is_none_of_ours_is_not_written_over() {
        let folder = Folder::new();
        folder.write(0..1_000).unwrap();
        let path = folder.0.join(NAME);
        let whole = fs::read(&path).unwrap();
        let mut foreign = GzEncoder::new(Vec::new(), Compression::fast());
        foreign.write_all(b"{\"id\": 7}\n").unwrap();
        let mut disordered = GzEncoder::new(Vec::new(), Compression::fast());
        for line in lines([5, 3]) {
            disordered.write_all(format!("{}\n", line.json).as_bytes()).unwrap();
        }
        let cut = whole[..whole.len() / 2].to_vec();
        for spoilt in [cut, b"notes".to_vec(), foreign.finish().unwrap(), disordered.finish().unwrap()] {
            fs::write(&path, &spoilt).unwrap();
            let error = folder.write(0..1_000).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert_eq!(fs::read(&path).unwrap(), spoilt);
            assert_eq!(folder.names(), [NAME]);
        }
    }

    #[test]
    fn a_file_that_somebody_else_wrote_meanwhile_stays() {
        let folder = Folder::new();
        let mut file = folder.begin().unwrap();
        file.write(&lines([1])).unwrap();
        fs::write(folder.0.join(NAME), b"theirs").unwrap();
        file.seal().unwrap().put().unwrap_err();
        assert_eq!(fs::read(folder.0.join(NAME)).unwrap(), b"theirs");
    }

    #[test]
    fn a_writer_that_was_away_too_long_spoils_nothing() {
        let folder = Folder::new();
        let mut away = folder.begin_as(1).unwrap();
        away.write(&lines(0..10_000)).unwrap();
        let mut next = folder.begin_as(2).unwrap();
        next.write(&lines(0..10_000)).unwrap();
        away.write(&lines(10_000..20_000)).unwrap();
        let (away, next) = (away.seal().unwrap(), next.seal().unwrap());
        next.put().unwrap();
        away.put().unwrap_err();
        assert_eq!(folder.read(), Vec::from_iter(0..10_000));
        assert_eq!(folder.names(), [NAME]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_a_full_disk_there_is_no_file() {
        let folder = Folder::new();
        std::os::unix::fs::symlink("/dev/full", folder.0.join(format!(".{NAME}.7.tmp"))).unwrap();
        let error = folder.write(0..10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(folder.names().is_empty());
    }
}
