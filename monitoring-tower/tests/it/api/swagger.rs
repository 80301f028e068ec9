//! `/docs`

use http::{Method, StatusCode};

use crate::support::{Answer, Service, send};

/// As a browser asks: it has no token before the page is there.
async fn visit(service: &Service, path: &str) -> Answer {
    send(&service.app, Method::GET, path, None, None).await
}

#[tokio::test]
async fn the_page_finds_the_document_wherever_the_router_is_nested() {
    let service = Service::sqlite().await;
    let entrance = visit(&service, "/docs").await;
    assert_eq!((entrance.status, entrance.header("location")), (StatusCode::PERMANENT_REDIRECT, "docs/"));
    let page = visit(&service, "/docs/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(!page.text().contains("<script>"), "the policy allows no script in the page itself");
    let script = visit(&service, "/docs/swagger-initializer.js").await;
    assert!(script.text().contains("../openapi.json"));
    assert_eq!(visit(&service, "/openapi.json").await.status, StatusCode::OK);
    visit(&service, "/docs/nothing.js").await.problem(StatusCode::NOT_FOUND, "not_found");
}
