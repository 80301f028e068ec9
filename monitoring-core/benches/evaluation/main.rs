//! What evaluating rules costs.
//!
//! ```sh
//! cargo bench -p monitoring-core --bench evaluation                      # everything
//! taskset -c 0 cargo bench -p monitoring-core --bench evaluation -- rules     # on one core
//! cargo bench -p monitoring-core --bench evaluation -- backtest
//! ```
//!
//! `rules`: 10,000 rules, each over ten of 100,000 series, all evaluated once a minute, and the same rules
//! over the same samples in the `prometheus` on the PATH. Every server is started from here, so `taskset`
//! holds for all of them; what each has used of processors is told as well, which a busy machine does not change. `backtest`: a rule over 100 series, thirty days, every minute, on both
//! databases. `EVALUATION_BENCH_PERCENT` takes so much of the rules and series, and of the days.

use std::error::Error;

#[path = "../../tests/it/support/own_server.rs"]
#[expect(dead_code, reason = "only tests give it all its orders")]
mod own_server;
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;

mod api;
mod backtest;
mod processes;
mod prometheus;
mod remote_write;
mod rules;
mod tasks;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let percent: usize = std::env::var("EVALUATION_BENCH_PERCENT").map_or(Ok(100), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("monitoring-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = async {
        if is_wanted("rules") {
            rules::run(&folder, percent).await?;
        }
        if is_wanted("backtest") {
            backtest::run(&folder, percent).await?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report(line: &str) {
    println!("{line}");
}
