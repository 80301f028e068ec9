//! What processes have used of processors, which does not depend on who else is at work.

use crate::Outcome;

/// Ticks in a second, as `/proc` counts.
const TICKS: f64 = 100.0;

struct Process {
    id: u32,
    parent: u32,
    seconds: f64,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok());
        Some(Self { id, parent: fields.get(1)?.parse().ok()?, seconds: (ticks(11)? + ticks(12)?) / TICKS })
    }

    fn all() -> Outcome<Vec<Self>> {
        let ids =
            std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(ids.filter_map(Self::read).collect())
    }
}

/// Seconds of this process.
pub(crate) fn own_seconds() -> Outcome<f64> {
    seconds_of(std::process::id())
}

/// Seconds of one process.
pub(crate) fn seconds_of(id: u32) -> Outcome<f64> {
    Ok(Process::read(id).ok_or("no such process")?.seconds)
}

/// Seconds of all processes with the same parent as this one, which serves a connection.
pub(crate) fn server_seconds(one: u32) -> Outcome<f64> {
    let parent = Process::read(one).ok_or("no such process")?.parent;
    let all = Process::all()?.into_iter().filter(|process| process.parent == parent || process.id == parent);
    Ok(all.map(|process| process.seconds).sum())
}
