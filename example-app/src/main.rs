//! The shop's process: reads the command line and the environment, prints where things are,
//! serves, stops.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use example_app::{App, DatabaseUrl, Settings, Stopped, demo, stop_signal, telemetry};
use tokio::net::TcpListener;

/// Exit code for settings that cannot be used, as for a wrong command line.
const BAD_SETTINGS: u8 = 2;

const USAGE: &str = "\
usage: example-app                             run the shop
       example-app demo [--database-url URL]   see the monitoring at work

The demo uses a temporary SQLite file unless it is given an empty database.
The shop is configured by the environment: DATABASE_URL, BIND_ADDR,
ADMIN_USERNAME, ADMIN_PASSWORD, MONITORING_EVENT_RETENTION_DAYS,
MONITORING_METRIC_RETENTION_DAYS, MONITORING_ALERT_EVALUATION_INTERVAL,
RUST_LOG.";

/// What the command line asks for.
enum Command {
    Serve,
    Demo(Option<Box<DatabaseUrl>>),
    Help,
}

#[tokio::main]
async fn main() -> ExitCode {
    match command(std::env::args().skip(1)) {
        Ok(Command::Serve) => serve().await,
        Ok(Command::Demo(database_url)) => match demo::run(database_url.map(|url| *url)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain("the demo stopped early:", &error);
                ExitCode::FAILURE
            }
        },
        Ok(Command::Help) => {
            help();
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain("this command line cannot be used:", error.as_ref());
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

fn command(mut arguments: impl Iterator<Item = String>) -> Result<Command, Box<dyn Error>> {
    let command = match arguments.next().as_deref() {
        None => Command::Serve,
        Some("-h" | "--help" | "help") => return Ok(Command::Help),
        Some("demo") => match arguments.next().as_deref() {
            None => Command::Demo(None),
            Some("--database-url") => {
                let url = arguments.next().ok_or("--database-url needs a URL")?;
                Command::Demo(Some(Box::new(url.parse()?)))
            }
            Some(other) => return Err(unknown(other)),
        },
        Some(other) => return Err(unknown(other)),
    };
    match arguments.next() {
        None => Ok(command),
        Some(other) => Err(unknown(&other)),
    }
}

fn unknown(argument: &str) -> Box<dyn Error> {
    format!("unknown argument `{argument}`\n{USAGE}").into()
}

async fn serve() -> ExitCode {
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
    let recorder = telemetry::init(settings)?;
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", settings.bind_addr))?;
    let app = App::start(settings, recorder).await?;
    let stop = stop_signal();
    welcome(settings, &app, listener.local_addr()?);
    Ok(app.serve(listener, stop).await?)
}

#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
fn help() {
    println!("{USAGE}");
}

#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
fn welcome(settings: &Settings, app: &App, address: SocketAddr) {
    println!("shop         http://{address}/api/v1");
    println!("database     {}", settings.database_url);
    println!();
    println!("monitoring   http://{address}/api/v1/monitoring, with a token from /api/v1/auth/login:");
    for (what, path) in [
        ("events", "/events"),
        ("live", "/events/stream"),
        ("Prometheus", "/metrics/prometheus"),
        ("OpenAPI", "/openapi.json"),
        ("docs", "/docs/"),
    ] {
        println!("  {what:<10} {path}");
    }
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
    let (mut cause, mut said) = (Some(error), String::new());
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause.
        for line in text.lines().filter(|_| !said.ends_with(&text)) {
            eprintln!("  {line}");
        }
        (cause, said) = (error.source(), text);
    }
}
