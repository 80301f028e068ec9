//! Query parameters, read strictly: an unknown name is an error that lists the known ones, because
//! a filter that is silently ignored shows the wrong data.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use http::request::Parts;
use monitoring_core::{Cursor, Invalid, Page};
use uuid::Uuid;

use super::error::{Answer, Problem};

/// Parameters on their way from a query to typed values. Take those that exist, then
/// [`finish`](Params::finish).
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    invalid: Invalid,
}

impl Params {
    /// The parameter as it stands.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.take(|key| key == name).into_iter().map(|(_, value)| value);
        let value = values.next()?;
        if values.next().is_some() {
            self.invalid.push(name, "must not be given more than once");
        }
        if value.is_empty() {
            self.invalid.push(name, "must not be empty; leave it out to see everything");
            return None;
        }
        Some(value)
    }

    /// A value whose type says itself what is wrong with a text.
    pub(super) fn parsed<T: FromStr<Err = Invalid>>(&mut self, name: &'static str) -> Option<T> {
        self.with(name, |text| {
            text.parse().map_err(|invalid: Invalid| {
                let messages: Vec<_> = invalid.errors().iter().map(|error| error.message.as_str()).collect();
                messages.join("; ")
            })
        })
    }

    /// The same of one that says it in a text.
    pub(super) fn read<T: FromStr<Err = String>>(&mut self, name: &'static str) -> Option<T> {
        self.with(name, str::parse)
    }

    pub(super) fn uuid(&mut self, name: &'static str) -> Option<Uuid> {
        self.with(name, |text| Uuid::try_parse(text).map_err(|_| "must be a UUID".to_owned()))
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.with(name, |text| text.parse().map_err(|_| "must be true or false".to_owned()))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<i64> {
        self.with(name, |text| text.parse().map_err(|_| "must be a whole number".to_owned()))
    }

    /// `start_time` and `end_time`.
    pub(super) fn period(&mut self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let start = self.with("start_time", parse_time);
        let end = self.with("end_time", parse_time);
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            self.invalid.push("end_time", "must be after start_time");
        }
        (start, end)
    }

    /// All of `tag.region=eu&tag.zone=1` for the prefix `tag.`, shown to callers as `shown`.
    pub(super) fn prefixed(&mut self, prefix: &str, shown: &'static str) -> Vec<(String, String)> {
        self.known.push(shown);
        let pairs = self.take(|key| key.starts_with(prefix));
        let mut found = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match &key[prefix.len()..] {
                "" => self.invalid.push(key, format!("must be {shown}=<value>")),
                name => found.push((name.to_owned(), value)),
            }
        }
        found
    }

    /// `limit`, `offset` and `cursor`.
    pub(super) fn page(&mut self) -> Page {
        let (page, after) = self.page_after::<Cursor>(None);
        Page { after, ..page }
    }

    /// The same with a cursor of another kind, and a limit where none is given.
    pub(super) fn page_after<C: FromStr<Err = Invalid>>(
        &mut self,
        usual_limit: Option<u32>,
    ) -> (Page, Option<C>) {
        let (limit, offset) = (self.number("limit"), self.number("offset"));
        let after: Option<C> = self.parsed("cursor");
        if after.is_some() && offset.is_some() {
            self.invalid.push("offset", "cannot be combined with cursor");
        }
        let page = Page::checked(limit.or(usual_limit.map(i64::from)), offset);
        let page = page.unwrap_or_else(|wrong| {
            self.invalid.extend(wrong);
            Page::default()
        });
        (page, after)
    }

    /// Fails if anything was wrong or is left over.
    pub(super) fn finish(mut self) -> Answer<()> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for (name, _) in self.pairs {
            self.invalid.push(name, format!("unknown parameter; the known ones are {known}"));
        }
        Ok(self.invalid.or(())?)
    }

    /// A value, or what is wrong with its text.
    pub(super) fn with<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|message| self.invalid.push(name, message)).ok()
    }

    fn take(&mut self, matches: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        self.pairs.extract_if(.., |(key, _)| matches(key)).collect()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Query(mut pairs): Query<Vec<(String, String)>> = Query::try_from_uri(&parts.uri)
            .map_err(|_| Problem::field("query", "must be name=value pairs, percent-encoded"))?;
        for text in pairs.iter_mut().flat_map(|(name, value)| [name, value]) {
            // As it is in what is stored; PostgreSQL refuses even to compare with NUL.
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        Ok(Self { pairs, ..Self::default() })
    }
}

/// RFC 3339. A `+` that was not percent-encoded arrives as a space and is understood.
fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let repaired = text
        .rsplit_once(' ')
        .filter(|(time, _)| time.contains(['T', 't']))
        .map_or_else(|| text.to_owned(), |(time, offset)| format!("{time}+{offset}"));
    if let Ok(time) = DateTime::parse_from_rfc3339(&repaired) {
        return Ok(time.to_utc());
    }
    let wrong = if text.parse::<NaiveDate>().is_ok() {
        "has no time of day"
    } else if text.parse::<NaiveDateTime>().is_ok() {
        "has no UTC offset; append Z for UTC"
    } else {
        "is no time"
    };
    Err(format!("{wrong}; expected RFC 3339, such as 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use monitoring_core::EventType;
    use proptest::prelude::*;

    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("/?{query}").parse().unwrap();
        let Query(pairs) = Query::try_from_uri(&uri).unwrap();
        Params { pairs, ..Params::default() }
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_taken_with_any_offset_and_an_unescaped_plus() {
        let noon = time("2026-01-31T12:00:00Z");
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T13:00:00%2B01:00",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T12:00:00.000-00:00",
        ] {
            let mut params = params(&format!("start_time={text}"));
            assert_eq!(params.period().0, Some(noon), "{text}");
            params.finish().unwrap();
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_the_reason() {
        assert!(parse_time("2026-01-31").unwrap_err().starts_with("has no time of day"));
        assert!(parse_time("2026-01-31T12:00:00").unwrap_err().starts_with("has no UTC offset"));
        assert!(parse_time("yesterday").unwrap_err().starts_with("is no time"));
    }

    proptest! {
        #[test]
        fn any_instant_is_understood_in_any_offset(seconds in 0..4_102_444_800_i64, minutes in -1_080..1_080) {
            let offset = FixedOffset::east_opt(minutes * 60).unwrap();
            let instant = DateTime::from_timestamp(seconds, 0).unwrap();
            let text = instant.with_timezone(&offset).to_rfc3339();
            prop_assert_eq!(parse_time(&text), Ok(instant));
            prop_assert_eq!(parse_time(&text.replace('+', " ")), Ok(instant));
        }

        #[test]
        fn no_query_is_too_strange(query in "[ -~]{0,60}") {
            let Ok(uri) = format!("/?{query}").parse() else { return Ok(()) };
            let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
            let known = ["start_time", "end_time", "limit", "offset", "cursor"];
            let has_unknown = pairs.iter().any(|(name, _)| !known.contains(&name.as_str()));
            let mut params = Params { pairs, ..Params::default() };
            params.period();
            params.page();
            prop_assert!(params.finish().is_err() || !has_unknown);
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut params = params("event_type=noise&limit=0&soruce=a&start_time=x");
        assert_eq!(params.parsed::<EventType>("event_type"), None);
        params.text("source");
        params.period();
        params.page();
        let problem = format!("{:?}", params.finish().unwrap_err());
        for part in ["noise", "1 to 1000", "soruce", "source, start_time", "is no time"] {
            assert!(problem.contains(part), "{part} in {problem}");
        }
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let mut params = params("source=a&source=b");
        params.text("source");
        assert!(params.finish().is_err());
    }

    #[test]
    fn tags_may_be_many() {
        let mut params = params("tag.region=eu&tag.zone=1");
        let tags = params.prefixed("tag.", "tag.<key>");
        assert_eq!(tags, [("region".into(), "eu".into()), ("zone".into(), "1".into())]);
        params.finish().unwrap();
    }

    #[test]
    fn a_period_must_not_end_before_it_starts() {
        let mut params = params("start_time=2026-01-02T00:00:00Z&end_time=2026-01-01T00:00:00Z");
        params.period();
        assert!(params.finish().is_err());
    }
}
