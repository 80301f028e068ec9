//! Tools made for Alertmanager take this for one.

use std::net::SocketAddr;
use std::process::Output;

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::prometheus::is_installed;
use crate::support::waiting::until;
use crate::support::{ADMIN, EXTERNAL_URL, MODERATOR, MOUNT, Service, exchange, on_both_databases, request};

on_both_databases! {
    amtool_adds_lists_and_expires_a_silence
    amtool_imports_the_silences_it_exported
    amtool_reads_the_routing
    amtool_lists_alerts_that_fire_and_are_silenced
    silences_are_alertmanagers_field_by_field
    errors_are_texts_as_there
}

/// The service on a socket.
async fn serve(service: &Service) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = service.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Amtool {
    address: SocketAddr,
    config: std::path::PathBuf,
}

impl Amtool {
    /// It says who it is as Prometheus would.
    async fn new(service: &Service) -> Self {
        let name = format!("monitoring-amtool-{:032x}.yml", monitoring_core::random_u128());
        let config = std::env::temp_dir().join(name);
        std::fs::write(&config, "authorization: {credentials: mo}\n").unwrap();
        Self { address: serve(service).await, config }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        Command::new("amtool")
            .arg(format!("--alertmanager.url=http://{}{MOUNT}/alertmanager", self.address))
            .arg(format!("--http.config.file={}", self.config.display()))
            .args(arguments)
            .env("HOME", "/nonexistent")
            .output()
            .await
            .expect("it is installed")
    }

    #[track_caller]
    fn text(output: Output) -> String {
        let (text, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}\n{error}");
        text.trim().to_owned()
    }
}

impl Drop for Amtool {
    fn drop(&mut self) {
        std::fs::remove_file(&self.config).ok();
    }
}

async fn amtool_adds_lists_and_expires_a_silence(service: &Service) {
    if !is_installed("amtool") {
        return;
    }
    let amtool = Amtool::new(service).await;
    let add = [
        "silence",
        "add",
        "alertname=Slow",
        "zone=~eu.*",
        "team!=x",
        "--comment=deploy",
        "--author=ann",
        "--duration=2h",
    ];
    let id = Amtool::text(amtool.run(&add).await);
    let list = Amtool::text(amtool.run(&["silence", "query", "-o", "json"]).await);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list[0]["id"], &list[0]["createdBy"]), (&json!(id), &json!("ann")));
    assert_eq!(list[0]["status"]["state"], "active");
    assert_eq!(list[0]["matchers"].as_array().unwrap().len(), 3);
    let ours = service.get(&format!("/silences/{id}"), MODERATOR).await.data();
    assert_eq!(ours["matchers"], json!(["alertname=\"Slow\"", "zone=~\"eu.*\"", "team!=\"x\""]));

    assert_eq!(Amtool::text(amtool.run(&["silence", "query", "-q", "alertname=Slow"]).await), id);
    assert_eq!(Amtool::text(amtool.run(&["silence", "query", "-q", "alertname=Full"]).await), "");
    Amtool::text(amtool.run(&["silence", "update", &id, "--duration=3h"]).await);
    let longer = service.get("/silences?expired=false", MODERATOR).await.data();
    assert_eq!((&longer[0]["id"], longer.as_array().unwrap().len()), (&ours["id"], 1), "the same, longer");
    assert_ne!(longer[0]["ends_at"], ours["ends_at"]);
    Amtool::text(amtool.run(&["silence", "expire", &id]).await);
    assert_eq!(Amtool::text(amtool.run(&["silence", "query", "-q"]).await), "");
    assert_eq!(Amtool::text(amtool.run(&["silence", "query", "-q", "--expired"]).await), id);
    let gone = amtool.run(&["silence", "add", "alertname=~.*", "--comment=all", "--author=ann"]).await;
    assert!(!gone.status.success(), "it would hide everything");
}

async fn amtool_imports_the_silences_it_exported(service: &Service) {
    if !is_installed("amtool") {
        return;
    }
    let (amtool, elsewhere) = (Amtool::new(service).await, Service::sqlite().await);
    for matchers in [["alertname=Slow", "zone=~eu.*"], ["alertname=\"Full\"", "team!=x"]] {
        let add = [&["silence", "add"], &matchers[..], &["--comment=a \"deploy\"", "--author=ann"]].concat();
        Amtool::text(amtool.run(&add).await);
    }
    let exported = Amtool::text(amtool.run(&["silence", "query", "-o", "json"]).await);
    let file = amtool.config.with_extension("json");
    std::fs::write(&file, &exported).unwrap();
    let import = ["silence", "import", file.to_str().unwrap()];
    let held = async |service: &Service| {
        let silences = service.get("/silences?expired=false", MODERATOR).await.data();
        let said = |silence: &Value| {
            ["matchers", "ends_at", "author", "comment"].map(|field| silence[field].to_string())
        };
        silences.as_array().unwrap().iter().map(said).collect::<std::collections::BTreeSet<_>>()
    };
    let before = held(service).await;
    assert_eq!(before.len(), 2);
    // Where they are known, they stay what they are; where they are over or unknown, others are made.
    let known: Value = serde_json::from_str(&exported).unwrap();
    let known: Vec<_> = known.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let imported = Amtool::text(amtool.run(&import).await);
    assert!(known.iter().all(|id| imported.contains(id)), "{imported}");
    assert_eq!(held(service).await, before);
    for id in known {
        Amtool::text(amtool.run(&["silence", "expire", id]).await);
    }
    assert_eq!(held(service).await.len(), 0);
    Amtool::text(amtool.run(&import).await);
    assert_eq!(held(service).await, before);
    Amtool::text(Amtool::new(&elsewhere).await.run(&import).await);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(held(&elsewhere).await, before);
}

async fn amtool_reads_the_routing(service: &Service) {
    if !is_installed("amtool") {
        return;
    }
    for name in ["team", "duty"] {
        let body = json!({"name": name, "type": "webhook", "config": {"url": "https://h.example/T0PSECRET"}});
        service.post("/receivers", ADMIN, body).await.data();
    }
    let routing = json!({"receiver": "team", "group_by": ["alertname"],
        "routes": [{"receiver": "duty", "matchers": ["severity=\"critical\""], "continue": false}],
        "inhibit_rules": [{"source_matchers": ["a=b"], "target_matchers": ["c=d"]}],
        "time_intervals": [{"name": "nights", "time_intervals": [
            {"times": [{"start_time": "22:00", "end_time": "24:00"}]}]}]});
    service.put("/routes", ADMIN, routing).await.data();
    let amtool = Amtool::new(service).await;
    for (severity, receiver) in [("critical", "duty"), ("low", "team")] {
        let label = format!("severity={severity}");
        let found = Amtool::text(amtool.run(&["config", "routes", "test", &label]).await);
        assert_eq!(found, receiver);
    }
    let shown = Amtool::text(amtool.run(&["config", "show"]).await);
    assert!(shown.contains("duty") && !shown.contains("T0PSECRET"), "{shown}");
    assert_eq!(Amtool::text(amtool.run(&["alert", "query", "-o", "json"]).await), "[]");
}

async fn amtool_lists_alerts_that_fire_and_are_silenced(service: &Service) {
    if !is_installed("amtool") {
        return;
    }
    service.put("/rule-groups/default", MODERATOR, json!({"interval": 1})).await.data();
    let mut rules = Vec::new();
    for name in ["Loud", "Quiet"] {
        let rule = json!({"name": name, "query": "vector(1)", "annotations": {"summary": "it fires"}});
        rules.push(service.post("/alerts", MODERATOR, rule).await.data()["id"].clone());
    }
    let amtool = Amtool::new(service).await;
    let alerts = async |arguments: &[&str]| {
        let arguments = [&["alert", "query", "-o", "json"], arguments].concat();
        serde_json::from_str::<Vec<Value>>(&Amtool::text(amtool.run(&arguments).await)).unwrap()
    };
    until("both fire", async || alerts(&[]).await.len() == 2).await;
    let add = ["silence", "add", "alertname=Quiet", "--comment=known", "--author=ann"];
    let silence = Amtool::text(amtool.run(&add).await);

    let [loud] = &alerts(&[]).await[..] else { panic!("one is silenced") };
    assert_eq!((&loud["labels"]["alertname"], &loud["status"]["state"]), (&json!("Loud"), &json!("active")));
    assert_eq!(loud["annotations"], json!({"summary": "it fires"}));
    assert_eq!(loud["generatorURL"], format!("{EXTERNAL_URL}/alerts/{}", rules[0].as_str().unwrap()));
    let [quiet] = &alerts(&["--silenced"]).await[..] else { panic!("one is silenced") };
    assert_eq!(quiet["labels"]["alertname"], "Quiet");
    assert_eq!(quiet["status"]["silencedBy"], json!([silence]));
    assert_eq!(alerts(&["alertname=Loud"]).await.len(), 1);
    assert_eq!(alerts(&["alertname=Quiet"]).await.len(), 0);
    for (option, named) in [("--active", "Loud"), ("-s", "Quiet")] {
        let shown = Amtool::text(amtool.run(&["alert", "query", option]).await);
        let names = ["Loud", "Quiet"].map(|name| shown.contains(name));
        assert_eq!(names, ["Loud", "Quiet"].map(|name| name == named), "{option}: {shown}");
    }
    let shown = Amtool::text(amtool.run(&["alert", "query", "-o", "extended"]).await);
    assert!(shown.contains(EXTERNAL_URL), "{shown}");
}

async fn send(service: &Service, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = request(method, &format!("/alertmanager/api/v2{path}"), Some(MODERATOR));
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
    let answer = exchange(&service.app, request.unwrap()).await;
    (answer.status, answer.json())
}

fn posted(matchers: Value) -> Value {
    json!({"matchers": matchers, "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "ann", "comment": "c"})
}

async fn silences_are_alertmanagers_field_by_field(service: &Service) {
    let body = posted(json!([{"name": "a", "value": "b", "isRegex": false}]));
    let (status, made) = send(service, Method::POST, "/silences", body).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let path = format!("/silence/{}", made["silenceID"].as_str().unwrap());
    let (_, silence) = send(service, Method::GET, &path, Value::Null).await;
    let mut fields: Vec<_> = silence.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = ["comment", "createdBy", "endsAt", "id", "matchers", "startsAt", "status", "updatedAt"];
    assert_eq!(fields, expected);
    let matcher = json!([{"name": "a", "value": "b", "isRegex": false, "isEqual": true}]);
    assert_eq!((&silence["matchers"], &silence["endsAt"]), (&matcher, &json!("2100-01-01T00:00:00Z")));
    let (status, _) = send(service, Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let (_, list) = send(service, Method::GET, "/silences?filter=a%3D%22b%22", Value::Null).await;
    assert_eq!(list[0]["status"]["state"], "expired");
    let (_, none) = send(service, Method::GET, "/silences?filter=a%3Dc", Value::Null).await;
    assert_eq!(none, json!([]));
}

async fn errors_are_texts_as_there(service: &Service) {
    let missing = "/silence/00000000-0000-7000-8000-000000000001";
    let (status, error) = send(service, Method::GET, missing, Value::Null).await;
    assert!(status == StatusCode::NOT_FOUND && error.is_string(), "{status}: {error}");
    for body in [posted(json!([])), posted(json!([{"name": "a", "value": "(", "isRegex": true}])), json!({})]
    {
        let (status, error) = send(service, Method::POST, "/silences", body.clone()).await;
        assert!(status == StatusCode::BAD_REQUEST && error.is_string(), "{body}: {status} {error}");
    }
    // As a form of a foreign page could send it.
    let request = request(Method::POST, "/alertmanager/api/v2/silences", Some(MODERATOR));
    let body = Body::from(posted(json!([{"name": "a", "value": "b", "isRegex": false}])).to_string());
    let answer =
        exchange(&service.app, request.header("content-type", "text/plain").body(body).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.json().is_string());
    for path in ["/alerts?filter=%28", "/alerts/groups?receiver=%28", "/silences?filter=a", "/silence/x"] {
        let (status, error) = send(service, Method::GET, path, Value::Null).await;
        assert!(status == StatusCode::BAD_REQUEST && error.is_string(), "{path}: {status} {error}");
    }
}
