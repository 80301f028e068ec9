//! The shop's process: reads the command line and the environment, prints where things are,
//! serves, stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use example_app::grafana::{OnDifference, Written};
use example_app::{App, DatabaseUrl, Settings, Stopped, demo, grafana, stop_signal, telemetry};
use tokio::net::TcpListener;

/// Exit code for settings that cannot be used, as for a wrong command line.
const BAD_SETTINGS: u8 = 2;

const USAGE: &str = "\
usage: example-app                             run the shop
       example-app demo [--database-url URL]   see the monitoring at work
       example-app grafana DIR [--force]       write Grafana's provisioning

The demo uses a temporary SQLite file unless it is given an empty database.
Grafana's folder gets a data source and dashboards for the shop at BIND_ADDR;
without --force no file in it is overwritten that differs.
The shop is configured by the environment: DATABASE_URL, BIND_ADDR,
ADMIN_USERNAME, ADMIN_PASSWORD, MONITORING_ADDRESS,
MONITORING_EVENT_RETENTION_DAYS, MONITORING_METRIC_RETENTION_DAYS,
MONITORING_ARCHIVE_DIR, MONITORING_EXTERNAL_URL, MONITORING_ALERT_EVALUATION_INTERVAL, RUST_LOG.";

/// What the command line asks for.
enum Command {
    Serve,
    Demo(Option<Box<DatabaseUrl>>),
    Grafana(PathBuf, OnDifference),
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
        Ok(Command::Grafana(folder, on_difference)) => write_grafana(&folder, on_difference),
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
        Some("grafana") => return grafana(arguments),
        Some(other) => return Err(unknown(other)),
    };
    match arguments.next() {
        None => Ok(command),
        Some(other) => Err(unknown(&other)),
    }
}

/// A folder and perhaps `--force`, in either order.
fn grafana(arguments: impl Iterator<Item = String>) -> Result<Command, Box<dyn Error>> {
    let (mut folder, mut on_difference) = (None, OnDifference::Refuse);
    for argument in arguments {
        match argument.as_str() {
            "--force" => on_difference = OnDifference::Overwrite,
            path if path.is_empty() || path.starts_with('-') || folder.is_some() => {
                return Err(unknown(path));
            }
            path => folder = Some(PathBuf::from(path)),
        }
    }
    Ok(Command::Grafana(folder.ok_or("grafana needs a folder to write to")?, on_difference))
}

fn unknown(argument: &str) -> Box<dyn Error> {
    format!("unknown argument `{argument}`\n{USAGE}").into()
}

fn settings() -> Result<Settings, ExitCode> {
    Settings::from_env().map_err(|error| {
        complain("these settings cannot be used:", &error);
        ExitCode::from(BAD_SETTINGS)
    })
}

async fn serve() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(code) => return code,
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

fn write_grafana(folder: &Path, on_difference: OnDifference) -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match grafana::write(folder, settings.bind_addr, on_difference) {
        Ok(written) => {
            explain_grafana(folder, &written);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain("the folder for Grafana cannot be written:", &error);
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
fn explain_grafana(folder: &Path, written: &[Written]) {
    for Written { path, was_there } in written {
        println!("{}  {}", if *was_there { "unchanged" } else { "written  " }, path.display());
    }
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    println!();
    println!("Register `{}` in the shop, with a password, and give it to Grafana:", grafana::ACCOUNT);
    println!("  GF_PATHS_PROVISIONING={}", folder.display());
    println!("  MONITORING_PASSWORD=…");
}

async fn run(settings: &Settings) -> Result<Stopped, Box<dyn Error>> {
    let recorder = telemetry::init(settings)?;
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", settings.bind_addr))?;
    let app = App::start(settings, recorder).await?;
    let stop = stop_signal();
    welcome(settings, &app, listener.local_addr()?);
    Ok(app.serve(listener, stop).await)
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
