//! `/docs`

use http::StatusCode;

use crate::support::{ALICE, Service};

#[tokio::test]
async fn the_page_finds_the_document_wherever_the_router_is_nested() {
    let service = Service::sqlite().await;
    let entrance = service.get("/docs", ALICE).await;
    assert_eq!((entrance.status, entrance.header("location")), (StatusCode::PERMANENT_REDIRECT, "docs/"));
    let page = service.get("/docs/", ALICE).await;
    assert!(page.header("content-type").starts_with("text/html"));
    let script = service.get("/docs/swagger-initializer.js", ALICE).await;
    assert!(script.text().contains("../openapi.json"));
    service.get("/docs/nothing.js", ALICE).await.problem(StatusCode::NOT_FOUND, "not_found");
}
