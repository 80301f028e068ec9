//! `example-app demo`: the whole system in one sitting, over real sockets, on a database that is
//! gone afterwards.
//!
//! | file | what it does |
//! |---|---|
//! | `stage` | opens the shop on a free port and closes it again |
//! | `client` | HTTP |
//! | `traffic`, `street` | what customers do, once and again and again |
//! | `pager` | the webhook that is told of alerts |
//! | `story`, `alarm`, `incident` | what happens, in order, and what is worth showing of it |
//! | `print`, `table` | how it looks on a terminal |

mod alarm;
mod client;
mod error;
mod incident;
mod pager;
mod print;
mod scrape;
mod stage;
mod story;
mod street;
mod table;
mod traffic;

use std::time::Instant;

pub use error::DemoError;

use crate::database::DatabaseUrl;
use print::Screen;
use stage::Stage;

/// Runs the demonstration and prints it to stdout.
///
/// `database_url` names a database without a shop in it; by default a temporary SQLite file.
/// Installs the process-wide `tracing` subscriber; the log on stderr stays silent unless
/// `RUST_LOG` asks for it.
///
/// # Errors
///
/// When anything does not go as the story has it.
pub async fn run(database_url: Option<DatabaseUrl>) -> Result<(), DemoError> {
    let began = Instant::now();
    let mut screen = Screen::stdout();
    let interrupted = crate::stop_signal();
    let stage = Stage::open(database_url).await?;
    tokio::select! {
        told = story::tell(&stage, &mut screen) => told?,
        () = interrupted => return Err(DemoError::Interrupted),
    }
    stage.close().await?;
    story::farewell(&mut screen, began.elapsed())
}
