//! Background jobs, through the real queue and the real worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use example_app::{Role, TaskCall, TaskFailure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{ADMIN, Shop, TestDatabase, on_each_database};

on_each_database!(
    a_task_runs_and_reports_its_result,
    a_paid_order_sends_its_receipt_by_itself,
    an_unknown_task_type_names_the_known_ones,
    a_task_type_may_demand_a_role,
    a_temporary_failure_is_tried_again,
    a_permanent_failure_is_not,
    a_panic_fails_the_task_and_nothing_else,
    others_do_not_see_a_task,
    a_task_queued_before_a_restart_runs_after_it,
    a_task_of_a_killed_process_is_taken_up_again,
);

/// Waits until a task is completed or failed.
pub(crate) async fn finished(shop: &Shop, token: &str, task: &Value) -> Value {
    let path = format!("/tasks/{}", task["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let report = shop.get(&path, token).await.data(200);
        if matches!(report["status"].as_str(), Some("completed" | "failed")) {
            return report;
        }
        assert!(Instant::now() < deadline, "still not finished: {report:#}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn submit(shop: &Shop, token: &str, task_type: &str, payload: Value) -> Value {
    let body = json!({ "task_type": task_type, "payload": payload });
    shop.post("/tasks", token, body).await.data(202)
}

async fn paid_order(shop: &Shop, token: &str) -> Value {
    let order = shop.post("/orders", token, json!({ "product": "mug" })).await.data(201);
    shop.post("/payments", token, json!({ "order_id": order["id"] })).await.data(201)
}

async fn a_task_runs_and_reports_its_result(database: TestDatabase) {
    let shop = database.start().await;
    let (id, bob) = shop.register_and_login("bob").await;
    let payment = paid_order(&shop, &bob).await;
    let payload = json!({ "payment_id": payment["id"] });
    let task = submit(&shop, &bob, "send_receipt", payload).await;
    assert_eq!(task["status"], "pending");
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "completed");
    assert_eq!(report["task_type"], "send_receipt");
    assert_eq!(report["attempts"], 1);
    assert_eq!(report["created_by"], *id);
    assert_eq!(report["result"]["sent_to"], "bob");
    assert_eq!(report["error"], Value::Null);
}

async fn a_paid_order_sends_its_receipt_by_itself(database: TestDatabase) {
    let shop = database.start().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    shop.app.task_processor().register("send_receipt", Role::User, move |_: TaskCall| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(Value::Null) }
    });
    let (_, bob) = shop.register_and_login("bob").await;
    paid_order(&shop, &bob).await;
    let deadline = Instant::now() + Duration::from_secs(15);
    while sent.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "no receipt");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn an_unknown_task_type_names_the_known_ones(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let body = json!({ "task_type": "mine_bitcoin", "payload": {} });
    let reply = shop.post("/tasks", &bob, body).await.problem(400, "validation_failed");
    assert_eq!(reply.body["errors"][0]["field"], "task_type");
    let message = reply.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("send_receipt"), "{message}");
    shop.post("/tasks", "", json!({ "task_type": "send_receipt" })).await.problem(401, "unauthenticated");
}

async fn a_task_type_may_demand_a_role(database: TestDatabase) {
    let shop = database.start().await;
    shop.app
        .task_processor()
        .register("rebuild", Role::Moderator, |call: TaskCall| async move { Ok(call.payload) });
    let admin = shop.login(ADMIN).await;
    let (_, bob) = shop.register_and_login("bob").await;
    let body = json!({ "task_type": "rebuild" });
    shop.post("/tasks", &bob, body).await.problem(403, "forbidden");
    let task = submit(&shop, &admin, "rebuild", json!({ "what": "index" })).await;
    let report = finished(&shop, &admin, &task).await;
    assert_eq!(report["result"], json!({ "what": "index" }));
}

async fn a_temporary_failure_is_tried_again(database: TestDatabase) {
    let shop = database.start().await;
    let tries = Arc::new(AtomicUsize::new(0));
    shop.app.task_processor().register("flaky", Role::User, move |_: TaskCall| {
        let number = tries.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if number < 3 {
                return Err(TaskFailure::Temporary("the mail server is away".into()));
            }
            Ok(json!(number))
        }
    });
    shop.app.task_processor().register("hopeless", Role::User, |_: TaskCall| async {
        Err(TaskFailure::Temporary("the mail server is away".into()))
    });
    let (_, bob) = shop.register_and_login("bob").await;
    let flaky = submit(&shop, &bob, "flaky", json!({})).await;
    let hopeless = submit(&shop, &bob, "hopeless", json!({})).await;
    let report = finished(&shop, &bob, &flaky).await;
    assert_eq!(report["status"], "completed");
    assert_eq!(report["result"], 3);
    let report = finished(&shop, &bob, &hopeless).await;
    assert_eq!(report["status"], "failed");
    assert_eq!(report["attempts"], 3);
    assert_eq!(report["error"], "the mail server is away");
}

async fn a_permanent_failure_is_not(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let payload = json!({ "payment_id": "00000000-0000-4000-8000-000000000000" });
    let task = submit(&shop, &bob, "send_receipt", payload).await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "failed");
    assert_eq!(report["attempts"], 1);
    assert_eq!(report["error"], "there is no such captured payment");
    let task = submit(&shop, &bob, "send_receipt", json!({})).await;
    let report = finished(&shop, &bob, &task).await;
    assert!(report["error"].as_str().unwrap().contains("payment_id"), "{report:#}");
}

async fn a_panic_fails_the_task_and_nothing_else(database: TestDatabase) {
    let shop = database.start().await;
    shop.app.task_processor().register("explode", Role::User, |call: TaskCall| async move {
        assert!(call.payload.is_null(), "boom");
        Ok(Value::Null)
    });
    let (_, bob) = shop.register_and_login("bob").await;
    let bad = submit(&shop, &bob, "explode", json!("now")).await;
    let report = finished(&shop, &bob, &bad).await;
    assert_eq!(report["status"], "failed");
    assert_eq!(report["error"], "the handler panicked");
    let good = submit(&shop, &bob, "explode", Value::Null).await;
    assert_eq!(finished(&shop, &bob, &good).await["status"], "completed");
}

async fn others_do_not_see_a_task(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (_, bob) = shop.register_and_login("bob").await;
    let (_, eve) = shop.register_and_login("eve").await;
    let task = submit(&shop, &bob, "send_receipt", json!({})).await;
    let path = format!("/tasks/{}", task["id"].as_str().unwrap());
    shop.get(&path, &eve).await.problem(404, "not_found");
    shop.get(&path, &admin).await.data(200);
    let nothing = "/tasks/00000000-0000-4000-8000-000000000000";
    shop.get(nothing, &admin).await.problem(404, "not_found");
}

async fn a_task_queued_before_a_restart_runs_after_it(database: TestDatabase) {
    let shop = database.start().await;
    // Keeps all four hands of the worker busy until the shop stops.
    shop.app.task_processor().register("wait", Role::User, |_: TaskCall| async {
        sleep(Duration::from_millis(700)).await;
        Ok(json!("waited"))
    });
    let (_, bob) = shop.register_and_login("bob").await;
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(submit(&shop, &bob, "wait", json!({})).await);
    }
    let left = submit(&shop, &bob, "send_receipt", json!({})).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(shop.stop().await, example_app::Stopped::Finished);

    let shop = database.start().await;
    for wait in &waits {
        let report = finished(&shop, &bob, wait).await;
        assert_eq!(report["result"], "waited", "what had begun was finished: {report:#}");
    }
    let report = finished(&shop, &bob, &left).await;
    assert_eq!(report["status"], "failed", "it ran, and there is no such payment");
}

async fn a_task_of_a_killed_process_is_taken_up_again(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let task = submit(&shop, &bob, "send_receipt", json!({})).await;
    finished(&shop, &bob, &task).await;
    assert_eq!(shop.stop().await, example_app::Stopped::Finished);
    // As a process leaves it that was killed over this task an hour ago.
    if database.is_postgres() {
        database.execute("UPDATE apalis.workers SET last_seen = now() - INTERVAL '1 hour'").await;
        database.execute("UPDATE apalis.jobs SET status = 'Running', attempts = 1, done_at = NULL").await;
    } else {
        database.execute("UPDATE Workers SET last_seen = last_seen - 3600").await;
        database.execute("UPDATE Jobs SET status = 'Running', attempts = 1, done_at = NULL").await;
    }

    let shop = database.start().await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "failed");
    assert!(report["attempts"].as_u64().unwrap() > 1, "{report:#}");
}
