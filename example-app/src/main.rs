//! The shop's process: reads the environment, prints where things are, serves, stops.

use std::error::Error;
use std::process::ExitCode;

use example_app::{App, Settings, Stopped, stop_signal, telemetry};
use tokio::net::TcpListener;

/// Exit code for settings that cannot be used, as for a wrong command line.
const BAD_SETTINGS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(error) => {
            complain("these settings cannot be used:", &error);
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    match run(&settings).await {
        Ok(Stopped::Finished) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            complain("the shop cannot run:", error.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> Result<Stopped, Box<dyn Error>> {
    telemetry::init(settings)?;
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", settings.bind_addr))?;
    let app = App::start(settings).await?;
    welcome(settings, &app, listener.local_addr()?);
    Ok(app.serve(listener, stop_signal()).await?)
}

#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
fn welcome(settings: &Settings, app: &App, address: std::net::SocketAddr) {
    println!("shop       http://{address}/api/v1");
    println!("database   {}", settings.database_url);
    let Some(admin) = app.first_admin() else {
        return;
    };
    println!();
    match admin.generated_password() {
        // Printed, never logged: the log is kept, and the monitoring reads it.
        Some(password) => {
            println!("This is the first start. The administrator, shown this once:");
            println!("  username   {}", admin.username());
            println!("  password   {password}");
        }
        None => {
            println!("This is the first start. `{}` is the administrator.", admin.username());
        }
    }
}

/// Prints an error and its causes, one a line.
#[expect(clippy::print_stderr, reason = "this is for the person at the terminal")]
fn complain(what: &str, error: &dyn Error) {
    eprintln!("{what}");
    let mut cause = Some(error);
    while let Some(error) = cause {
        for line in error.to_string().lines() {
            eprintln!("  {line}");
        }
        cause = error.source();
    }
}
