//! `promtool`, as a judge.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::random::random_u128;

/// Whether it is there to ask. Where `CI` is set it has to be.
pub(super) fn is_installed() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&paths).any(|folder| folder.join("promtool").is_file());
    let missing = "no promtool on the PATH";
    assert!(is_installed || std::env::var_os("CI").is_none(), "{missing}; CI is set, so its tests must run");
    if !is_installed {
        writeln!(std::io::stderr(), "SKIPPED: {missing}; its tests did not run").ok();
    }
    is_installed
}

/// What it says of each of these files of tests, which come with the rules they are about.
pub(super) fn verdicts(files: &[(String, String)]) -> Vec<Result<(), String>> {
    let folder = Folder::new();
    let mut names = Vec::new();
    for (n, (rules, tests)) in files.iter().enumerate() {
        let own = folder.0.join(n.to_string());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("rules.yml"), rules).unwrap();
        fs::write(own.join("tests.yml"), tests).unwrap();
        names.push(format!("{n}/tests.yml"));
    }
    // Both of its streams into one file, so that what belongs together stands together.
    let said = folder.0.join("said");
    let stream = File::create(&said).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["test", "rules"]).args(&names).current_dir(&folder.0);
    let status = promtool.stdout(stream.try_clone().unwrap()).stderr(stream).status().unwrap();
    let said = fs::read_to_string(said).unwrap();
    let parts: Vec<_> = said.split("Unit Testing:  ").skip(1).collect();
    assert_eq!(parts.len(), files.len(), "{status}: {said}");
    let verdict = |(part, name): (&&str, &String)| {
        let said = part.strip_prefix(name.as_str()).expect("it keeps to the order").trim();
        if said == "SUCCESS" { Ok(()) } else { Err(format!("promtool: {said}")) }
    };
    parts.iter().zip(&names).map(verdict).collect()
}

/// A folder that is removed with all it holds.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("monitoring-promtool-{:032x}", random_u128()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
