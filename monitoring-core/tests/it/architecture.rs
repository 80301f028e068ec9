//! Imports run one way, and some things are done in one place only.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate, each with what it stands on to its left. A module may use what
/// stands before it and nothing behind it, so whoever reads the list from the left meets nothing
/// unexplained, and no change reaches further than to its right.
///
/// - `random`, `model`, `clock`, `config`, `redact`: values, without I/O.
/// - `store`: keeps values; knows neither permissions nor the public error (it has its own).
/// - `aside`: where long computations are done.
/// - `auth`, `error`: what an answer may be instead of a value. They stand before `ingest`,
///   because the recorder answers its callers with the public error.
/// - `ingest` to `retention`: the stages in the life of the data, each using the ones before.
/// - `services` act for a person, `tasks` for the clock; neither calls the other.
/// - `monitor` starts it all; `event_logger` and `handlers` are conveniences over all of it.
/// - `fuzzing` exists for the fuzz targets only.
const ORDER: [&str; 29] = [
    "own_work",
    "random",
    "model",
    "clock",
    "config",
    "redact",
    "store",
    "aside",
    "auth",
    "error",
    "ingest",
    "promql",
    "query",
    "exposition",
    "alerting",
    "notify",
    "incidents",
    "evaluation",
    "analysis",
    "retention",
    "compaction",
    "services",
    "tasks",
    "monitor",
    "event_logger",
    "handlers",
    "fuzzing",
    "http",
    "lib",
];

/// Modules that stand at the same place in the list in spirit: neither may use the other.
const STRANGERS: [(&str, &str); 1] = [("services", "tasks")];

struct Source {
    /// Below `src/`, such as `store/postgres/audit.rs`.
    path: PathBuf,
    /// Without comments, so that examples in docs do not count.
    code: String,
}

impl Source {
    /// The first part of the path: `store`.
    fn module(&self) -> String {
        let first = self.path.iter().next().expect("no path is empty");
        first.to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The modules named by `crate::…`, in imports and elsewhere.
    fn imports(&self) -> Vec<String> {
        let mut imports = Vec::new();
        for (at, found) in self.code.match_indices("crate::") {
            if self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue; // `monitoring_crate::`
            }
            let rest = &self.code[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(group) => imports.extend(members(group).map(first_name)),
                None => imports.push(first_name(rest)),
            }
        }
        imports
    }
}

/// The members of `{a::{b, c}, d}`, given without the first brace.
fn members(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 1;
    let end = group.find(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    let mut depth = 0;
    group[..end.expect("it compiles")].split(move |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
}

fn first_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = without_comments(&fs::read_to_string(&path).unwrap());
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), code });
            }
        }
    }
    assert!(sources.len() > 30, "the sources were found");
    sources
}

fn without_comments(code: &str) -> String {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What stands before the unit tests of a file; `tests.rs` and what is below `tests/` is all tests.
fn without_tests(source: &Source) -> &str {
    if source.path.with_extension("").iter().any(|part| part == "tests") {
        return "";
    }
    source.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

fn place(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

#[test]
fn imports_point_to_the_left() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "lib") {
        let module = source.module();
        let here = place(&module).unwrap_or_else(|| panic!("{module} is missing in the list"));
        for import in source.imports() {
            // What is no module is a re-export of the root, which stands right of everything.
            let there = place(&import).unwrap_or(usize::MAX);
            if there > here {
                wrong.push(format!("{}: crate::{import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports pointing back:\n{}", wrong.join("\n"));
}

#[test]
fn services_and_tasks_do_not_know_each_other() {
    for source in sources() {
        for (one, other) in STRANGERS {
            for (module, stranger) in [(one, other), (other, one)] {
                let uses =
                    source.module() == module && source.imports().iter().any(|import| import == stranger);
                assert!(!uses, "{} uses {stranger}", source.path.display());
            }
        }
    }
}

#[test]
fn sql_stands_only_under_store() {
    for source in sources().iter().filter(|source| !source.is_below("store")) {
        for sign in ["sqlx::query", "sqlx::raw_sql", "QueryBuilder", "query_scalar"] {
            assert!(!without_tests(source).contains(sign), "{}: {sign}", source.path.display());
        }
    }
}

/// Where something is computed on another thread and waited for right there: it is no task.
const COMPUTES: &str = "aside.rs";

#[test]
fn only_tasks_spawn() {
    let others = |source: &&Source| !source.is_below("tasks") && source.path != Path::new(COMPUTES);
    for source in sources().iter().filter(others) {
        for sign in ["tokio::spawn", "task::spawn", "thread::spawn", "spawn_blocking", "thread::Builder"] {
            assert!(!without_tests(source).contains(sign), "{}: {sign}", source.path.display());
        }
    }
}

#[test]
fn super_reaches_the_parent_and_no_further() {
    for source in sources() {
        assert!(!without_tests(&source).contains("super::super::"), "{}", source.path.display());
    }
}

#[test]
fn only_the_clock_asks_for_the_time() {
    for source in sources().iter().filter(|source| source.module() != "clock") {
        for sign in ["Utc::now", "SystemTime::now", "Local::now"] {
            assert!(!without_tests(source).contains(sign), "{}: {sign}", source.path.display());
        }
    }
}

#[test]
fn both_dialects_have_the_same_functions_in_the_same_order() {
    let sources = sources();
    let of = |dialect: &str| {
        let below = Path::new("store").join(dialect);
        let mut files: Vec<_> = sources.iter().filter(|source| source.path.starts_with(&below)).collect();
        files.sort_by_key(|source| source.path.clone());
        files
    };
    let names = |files: &[&Source]| {
        let names = files.iter().map(|source| source.path.file_name().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let (postgres, sqlite) = (of("postgres"), of("sqlite"));
    assert_eq!(names(&postgres), names(&sqlite));
    for (one, other) in postgres.iter().zip(&sqlite) {
        assert_eq!(promises(one), promises(other), "{}", one.path.display());
    }
}

/// The functions of the storage traits, as a dialect lists them.
fn promises(source: &Source) -> Vec<&str> {
    let headers = source.code.match_indices("\nimpl ");
    let is_trait =
        |at: &usize| source.code[at + 1..].lines().next().is_some_and(|line| line.contains("Store for "));
    let Some(start) = headers.map(|(at, _)| at).find(is_trait) else { return Vec::new() };
    let code = &source.code[start..];
    let end = code.find("\n}").unwrap_or(code.len());
    code[..end].lines().filter_map(|line| line.strip_prefix("    async fn ")?.split('(').next()).collect()
}
