use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redactor() -> &'static Redactor {
    static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Redaction::default()).unwrap());
    &REDACTOR
}

fn text(text: &str) -> String {
    redactor().text(text).into_owned()
}

#[test]
fn secrets_in_texts_are_replaced_where_they_stand() {
    for (before, after) in [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("authorization=Basic dXNlcjpwdw== status=401", "authorization=Basic [redacted] status=401"),
        ("got Bearer s3cr3ttoken from client", "got Bearer [redacted] from client"),
        ("curl -H 'Authorization: token ghx' http://x", "curl -H 'Authorization: token [redacted]' http://x"),
        ("jwt eyJhbGciOi.eyJzdWIiOiIx.c2lnbmF0dXJl!", "jwt [redacted]!"),
        ("login password=hunter2 failed", "login password=[redacted] failed"),
        (r#"{"user":"bob","password": "hun\"ter2"}"#, r#"{"user":"bob","password": "[redacted]"}"#),
        (r#"body="{\"password\":\"hunter2\",\"a\":1}""#, r#"body="{\"password\":\"[redacted]\",\"a\":1}""#),
        ("pwd: hunter2, next", "pwd: [redacted], next"),
        (r#"Login { password: Some("hunter2"), n: 1 }"#, "Login { password: [redacted], n: 1 }"),
        ("postgres://shop:p@ss:w0rd@db:5432/shop", "postgres://shop:[redacted]@db:5432/shop"),
        ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
        ("mysql://root:a/b@db/x", "mysql://root:[redacted]@db/x"),
        ("https://x.test/cb?token=abc123&next=/home", "https://x.test/cb?token=[redacted]&next=/home"),
        ("GET /a?api_key=k&b=1#f", "GET /a?api_key=[redacted]&b=1#f"),
        ("Set-Cookie: sid=abc; Path=/\nHost: x", "Set-Cookie: [redacted]\nHost: x"),
        ("cookie: a=b; c=d", "cookie: [redacted]"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
        ("card 4111 1111 1111 1111 declined", "card [redacted] declined"),
        ("card 4111-1111-1111-1111.", "card 4111-1111-1111-1111."),
        ("amex 378282246310005, ok", "amex [redacted], ok"),
        ("amex 3782 822463 10005, ok", "amex [redacted], ok"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nnext",
            "[redacted]\nnext",
        ),
        ("cut -----BEGIN PRIVATE KEY-----\nMIIE", "cut [redacted]"),
    ] {
        assert_eq!(text(before), after);
    }
}

#[test]
fn harmless_texts_are_not_even_copied() {
    for harmless in [
        "",
        "GET /orders/550e8400-e29b-41d4-a716-446655440000 took 12 ms",
        "order 4111111111111112 of 1763886632123 shipped",
        "at 2026-11-23 08:30:32.123456 UTC",
        "token_count=12 tokens_used=3 pinned=true shipping: fast",
        "basic authentication is required; bearer authentication too",
        "see http://host:8080/a@b and ssh://git@github.com/x",
        "Token::new was called",
        "mail a.user@example.com",
        "password=[redacted] Authorization: Bearer [redacted]",
        "https://u:[redacted]@h/",
        "ein Schlüssel: äöü = ß",
        "30 days, 4111 1111 items",
    ] {
        assert!(matches!(redactor().text(harmless), Cow::Borrowed(_)), "{harmless}: {}", text(harmless));
    }
}

#[test]
fn e_mail_addresses_are_replaced_only_when_asked() {
    let rules = Redaction { emails: true, ..Redaction::default() };
    let redactor = Redactor::new(&rules).unwrap();
    assert_eq!(redactor.text("mail a.user+x@mail.example.com!"), "mail [redacted]!");
}

#[test]
fn patterns_of_the_host_are_applied() {
    let rules = Redaction { patterns: vec![r"K-\d+".to_owned()], ..Redaction::default() };
    assert_eq!(Redactor::new(&rules).unwrap().text("customer K-123"), "customer [redacted]");
}

#[test]
fn patterns_that_cannot_work_are_refused() {
    for pattern in ["(", "x*"] {
        let rules = Redaction { patterns: vec![pattern.to_owned()], ..Redaction::default() };
        let invalid = Redactor::new(&rules).unwrap_err();
        assert_eq!(invalid.errors()[0].field, "redaction.patterns");
    }
}

#[test]
fn values_under_telling_keys_are_replaced_whole_at_any_depth() {
    let mut value = json!({
        "user": "bob",
        "password": "x",
        "has_password": true,
        "headers": [{"name": "Authorization", "value": "abc"}, {"name": "Host", "value": "x"}],
        "nested": {"apiKey": {"id": 1}, "pin": 1234, "note": "token=abc"},
        "card": 4_111_111_111_111_111_u64,
        "order_id": 4_111_111_111_111_112_u64,
    });
    redactor().value(&mut value);
    let expected = json!({
        "user": "bob",
        "password": "[redacted]",
        "has_password": true,
        "headers": [{"name": "Authorization", "value": "[redacted]"}, {"name": "Host", "value": "x"}],
        "nested": {"apiKey": "[redacted]", "pin": "[redacted]", "note": "token=[redacted]"},
        "card": "[redacted]",
        "order_id": 4_111_111_111_111_112_u64,
    });
    assert_eq!(value, expected);
}

/// What stands around a secret: it must not be able to hide it.
fn surroundings() -> impl Strategy<Value = (String, String)> {
    let piece = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "user=7 ",
        "{\"a\": 1} ",
        "é ",
        "took 5 ms: ",
        "http://h/p ",
        "(",
        "see: ",
        "a@b ",
        "; ",
    ]);
    (prop::collection::vec(piece, 0..6), "[ -~éß\n]{0,40}")
        .prop_map(|(before, after)| (before.concat(), after))
}

/// How a secret is planted, `§` being its place.
fn settings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "password=§",
        "password: §",
        "\"password\": \"§\"",
        "pwd='§'",
        "?token=§&x=1",
        "Authorization: Bearer §",
        "authorization: Basic §",
        "api_key=§",
        "X-Api-Key: §",
        "{\\\"secret\\\":\\\"§\\\"}",
        "https://u:§@host/x",
        "postgres://u:§@h:5432/d",
        "Cookie: sid=§; x=y",
        "password: Some(\"§\")",
        "client_secret => §",
        "Bearer §",
        "jwt eyJhbGciOiJIUzI1NiJ9.§.sig",
        "-----BEGIN PRIVATE KEY-----\n§\n-----END PRIVATE KEY-----",
    ])
}

proptest! {
    #[test]
    fn a_planted_secret_never_survives(
        (before, after) in surroundings(),
        setting in settings(),
        secret in "[a-z][0-9][A-Za-z0-9]{10,30}",
    ) {
        let planted = format!("{before} {} {after}", setting.replace('§', &secret));
        let redacted = text(&planted);
        prop_assert!(!redacted.contains(&secret), "{planted:?} became {redacted:?}");
    }

    #[test]
    fn redacting_twice_changes_nothing(text in "[ -~éß\n]{0,80}", setting in settings(), more in "\\PC{0,20}") {
        let once = self::text(&format!("{text}{setting}{more}"));
        prop_assert_eq!(self::text(&once), once);
    }

    #[test]
    fn any_text_can_be_redacted(text in any::<String>()) {
        self::text(&text);
    }

    #[test]
    fn a_text_without_signs_or_digits_stays(text in "[a-zA-Z ,.!?éß]{0,200}") {
        prop_assume!(!text.to_lowercase().contains("bearer") && !text.to_lowercase().contains("basic"));
        prop_assert_eq!(self::text(&text), text);
    }

    #[test]
    fn cards_are_found_in_one_piece_or_in_fours(body in 300_000_000_000_000_u64..700_000_000_000_000) {
        let card = with_check_digit(body);
        let in_fours: Vec<_> = card.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap()).collect();
        for shown in [card.clone(), in_fours.join(" "), in_fours.join("-")] {
            prop_assert_eq!(text(&format!("paid with {shown} today")), "paid with [redacted] today");
        }
    }
}

fn with_check_digit(body: u64) -> String {
    let doubled =
        |(place, digit): (usize, u64)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit };
    let digits = body.to_string().into_bytes().into_iter().rev().map(|byte| u64::from(byte - b'0'));
    let sum: u64 = digits.enumerate().map(doubled).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

#[test]
fn ids_that_are_plain_stay_and_others_are_looked_at() {
    let request = crate::model::CreateEventRequest {
        event_type: crate::model::EventType::Log,
        source: "test".to_owned(),
        message: None,
        level: None,
        tags: Default::default(),
        payload: Default::default(),
        timestamp: None,
    };
    let mut event = request.into_event(Default::default(), None, &Default::default()).unwrap();
    event.source = "sync of postgres://shop:pw1@db/shop".to_owned();
    event.request_id = Some("4111111111111111".to_owned());
    event.span_id = Some("378282246310005a".to_owned());
    event.trace_id = Some("Bearer s3cr3ttoken".to_owned());
    redactor().event(&mut event);
    assert_eq!(event.source, "sync of postgres://shop:[redacted]@db/shop");
    assert_eq!(event.request_id.as_deref(), Some("4111111111111111"));
    assert_eq!(event.span_id.as_deref(), Some("378282246310005a"));
    assert_eq!(event.trace_id.as_deref(), Some("Bearer [redacted]"));
}

#[test]
fn labels_follow_the_same_rules() {
    let series = |labels: &[(&str, &str)]| {
        let labels = labels.iter().copied().collect();
        let (kind, temporality) = (crate::model::MetricType::Counter, crate::model::Temporality::Delta);
        crate::model::Series::new("m".to_owned(), labels, kind, temporality, Vec::new())
    };
    let clean = series(&[("method", "GET"), ("has_token", "false"), ("name", "a"), ("value", "b")]);
    assert_eq!(redactor().series(&clean), None);
    let secret = series(&[("name", "password"), ("value", "hunter2"), ("url", "http://a:b@c/"), ("x", "1")]);
    let redacted = redactor().series(&secret).unwrap();
    let expected =
        series(&[("name", "password"), ("value", REDACTED), ("url", "http://a:[redacted]@c/"), ("x", "1")]);
    assert_eq!(redacted, expected, "and so is the id");
    assert_eq!(redactor().series(&redacted), None);
}
