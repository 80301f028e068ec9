//! Files on the disk, and leaving alone what somebody changed there.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What to do about a file that is there already with other contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDifference {
    /// Write nothing at all and say which it is.
    Refuse,
    /// Replace it.
    Overwrite,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was there already, just like that.
    pub was_there: bool,
}

/// Why there is no provisioning folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrafanaError {
    /// With port 0 the system chooses one at each start.
    #[error("BIND_ADDR is {0}: set the port the shop listens at, so that Grafana can be told of it")]
    NoPort(SocketAddr),
    /// Somebody changed these files, or they are something else.
    #[error("{} in the way with other contents; --force overwrites", Paths(.0))]
    Differs(Vec<PathBuf>),
    /// The disk refuses.
    #[error("{} cannot be {what}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl GrafanaError {
    fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }
}

/// Paths as a sentence begins with them.
struct Paths<'a>(&'a [PathBuf]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", path.display())?;
        }
        f.write_str(if self.0.len() == 1 { " is" } else { " are" })
    }
}

/// A file to be.
pub(super) struct File {
    /// Below the folder.
    pub(super) path: &'static str,
    pub(super) text: String,
}

/// Looks at all files before it writes the first.
pub(super) fn write(
    folder: &Path,
    files: &[File],
    on_difference: OnDifference,
) -> Result<Vec<Written>, GrafanaError> {
    let mut written = Vec::new();
    let mut differs = Vec::new();
    for file in files {
        let path = folder.join(file.path);
        let found = found(&path)?;
        let was_there = found.as_deref() == Some(file.text.as_bytes());
        if found.is_some() && !was_there {
            differs.push(path.clone());
        }
        written.push(Written { path, was_there });
    }
    if on_difference == OnDifference::Refuse && !differs.is_empty() {
        return Err(GrafanaError::Differs(differs));
    }
    for (file, to_write) in files.iter().zip(&written).filter(|(_, written)| !written.was_there) {
        let path = &to_write.path;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(GrafanaError::io(parent, "made"))?;
        }
        fs::write(path, &file.text).map_err(GrafanaError::io(path, "written"))?;
    }
    Ok(written)
}

fn found(path: &Path) -> Result<Option<Vec<u8>>, GrafanaError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(GrafanaError::io(path, "read")(error)),
    }
}
