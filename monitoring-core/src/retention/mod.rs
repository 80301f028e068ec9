//! How telemetry finds a day to live in, and when it leaves.
//!
//! A timestamp older than what is kept, or more than a day ahead, is refused when it comes in
//! ([`Retention::check`](crate::config::Retention::check)). Everything else finds a home: the partition of
//! its day, made here ahead of time, or the default partition, until it is moved here. No request ever
//! waits for DDL.
//!
//! Partitions leave whole, so on PostgreSQL telemetry is kept up to a day longer than asked for, and so it
//! is on both databases where days are written to an archive first: to an [`ArchiveFile`], one a table and
//! day. `tasks` brings the two together, because only there a thread is to be had that may wait for a disk.

mod archive_file;
mod days;
mod line;

pub(crate) use archive_file::{ArchiveFile, Written};
pub(crate) use days::{
    RetentionReport, apply, fold, fold_totals, forget_silent, in_time, move_strays, prepare, rest,
    trim_exemplars,
};
pub(crate) use line::{Line, chunk_lines, event_lines, sample_lines};
