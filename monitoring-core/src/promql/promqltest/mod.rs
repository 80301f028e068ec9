//! Runs the scripts Prometheus tests its engine with (`*.test`) on this engine, in memory.
//!
//! The scripts are not part of this project: `MONITORING_PROMQL_TESTS` names the folder that holds
//! them. Cases that need native histograms or experimental features are left out. Instant cases are
//! run a second time as the middle step of a range query, as the original does.

mod script;

use super::{Memory, Query, QueryLimits, QueryValue, SeriesValues};
use script::{Command, Eval, Expected};

#[test]
fn scripts_of_prometheus_pass() {
    let Ok(folder) = std::env::var("MONITORING_PROMQL_TESTS") else {
        println!("SKIPPED: MONITORING_PROMQL_TESTS names no folder of PromQL test scripts");
        return;
    };
    let mut outcome = Outcome::default();
    let entries = std::fs::read_dir(&folder).expect("the folder of scripts can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "test")) {
        let text = std::fs::read_to_string(path).expect("a script can be read");
        outcome.run(&path.display().to_string(), &text);
    }
    println!("{} cases passed, {} left out", outcome.passed, outcome.left_out);
    assert!(outcome.failed.is_empty(), "{} failed:\n{}", outcome.failed.len(), outcome.failed.join("\n"));
    assert!(outcome.passed > 0, "there are no scripts in {folder}");
}

#[derive(Default)]
struct Outcome {
    passed: usize,
    left_out: usize,
    failed: Vec<String>,
}

impl Outcome {
    fn run(&mut self, file: &str, text: &str) {
        let mut memory = Memory::default();
        for command in script::parse(text) {
            match command {
                Command::Clear => memory = Memory::default(),
                Command::Load(series) => memory.load(series),
                Command::Eval(eval) if eval.is_left_out(&memory) => self.left_out += 1,
                Command::Eval(eval) => match check(&eval, &memory) {
                    Ok(()) => self.passed += 1,
                    Err(why) => self.failed.push(format!("{file}:{}: {}\n    {why}", eval.line, eval.query)),
                },
            }
        }
    }
}

fn check(eval: &Eval, memory: &Memory) -> Result<(), String> {
    let answer = run(eval, memory, eval.start, eval.end, eval.step);
    let answer = match (answer, &eval.expected) {
        (Err(_), Expected::Failure(None)) => return Ok(()),
        (Err(error), Expected::Failure(Some(message))) if error.contains(message) => return Ok(()),
        (Err(error), _) => return Err(format!("failed: {error}")),
        (Ok(answer), Expected::Failure(_)) => return Err(format!("should fail, yields {answer:?}")),
        (Ok(answer), _) => answer,
    };
    eval.compare(&answer)?;
    if eval.step == 0
        && !matches!(eval.expected, Expected::Text(_))
        && !matches!(answer, QueryValue::Matrix(_))
    {
        return check_as_range(eval, memory, &answer);
    }
    Ok(())
}

/// The middle step of three must be what an instant query yields.
fn check_as_range(eval: &Eval, memory: &Memory, instant: &QueryValue) -> Result<(), String> {
    const MINUTE: i64 = 60_000;
    let answer = run(eval, memory, eval.start - MINUTE, eval.start + MINUTE, MINUTE);
    let QueryValue::Matrix(series) = answer.map_err(|error| format!("failed as a range: {error}"))? else {
        return Err("a range query yields a matrix".to_owned());
    };
    let at = |series: SeriesValues| {
        let samples: Vec<_> = series.samples.into_iter().filter(|(time, _)| *time == eval.start).collect();
        SeriesValues { samples, ..series }
    };
    let middle: Vec<_> = series.into_iter().map(at).filter(|series| !series.samples.is_empty()).collect();
    let expected = match instant {
        QueryValue::Vector(series) => series.clone(),
        QueryValue::Scalar(time, value) => {
            vec![SeriesValues { labels: Default::default(), samples: vec![(*time, *value)] }]
        }
        _ => return Ok(()),
    };
    script::compare_series(&expected, &middle, false).map_err(|why| format!("as a range: {why}"))
}

fn run(eval: &Eval, memory: &Memory, start: i64, end: i64, step: i64) -> Result<QueryValue, String> {
    let limits = QueryLimits::default();
    let query = if step == 0 {
        Query::instant(&eval.query, start, &limits)
    } else {
        Query::range(&eval.query, start, end, step, &limits)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answer = query.and_then(|query| runtime.block_on(query.answer(memory, &limits)));
    answer.map(|answer| answer.value).map_err(|error| error.to_string())
}
