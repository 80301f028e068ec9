//! The few lines of a scrape that tell the story.

/// Beginnings of the lines worth showing, in the order to show them, and how many of each.
const TELLING: [(&str, usize); 10] = [
    ("# HELP payments_total", 1),
    ("# TYPE payments_total", 1),
    ("payments_total{", 3),
    ("orders_total{", 2),
    ("# TYPE payment_amount_cents", 1),
    ("payment_amount_cents_bucket{le=\"5000", 1),
    ("payment_amount_cents_sum", 1),
    ("payment_amount_cents_count", 1),
    ("http_server_request_duration_seconds_count{", 2),
    ("monitoring_total_events", 1),
];

/// What a series of requests must name to be among those shown.
const ROUTE: &str = "/api/v1/payments";

/// Picks the telling lines out of an exposition.
pub(super) fn excerpt(exposition: &str) -> Vec<&str> {
    let picked = TELLING.iter().flat_map(|(start, lines)| {
        let matching = exposition.lines().filter(move |line| line.starts_with(start));
        matching.filter(|line| !line.starts_with("http_") || line.contains(ROUTE)).take(*lines)
    });
    picked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_lines_are_picked_in_the_order_of_the_story() {
        let exposition = "\
            # TYPE http_server_request_duration_seconds histogram\n\
            http_server_request_duration_seconds_count{http_route=\"/livez\"} 7\n\
            http_server_request_duration_seconds_count{http_route=\"/api/v1/payments\"} 9\n\
            # TYPE payments_total counter\n\
            payments_total{outcome=\"captured\"} 8\n\
            something_else 1\n";
        assert_eq!(
            excerpt(exposition),
            [
                "# TYPE payments_total counter",
                "payments_total{outcome=\"captured\"} 8",
                "http_server_request_duration_seconds_count{http_route=\"/api/v1/payments\"} 9",
            ]
        );
    }
}
