//! Times and durations as parameters: numbers of seconds, RFC 3339, `5m`.

use chrono::{DateTime, TimeDelta, Utc};

use super::answer::PromError;
use super::form::Form;

impl Form {
    /// An instant; `None` if it is not given.
    pub(super) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, PromError> {
        let parse = |text| {
            parse_time(text).ok_or_else(|| {
                PromError::parameter(name, format!("Invalid time value for '{name}': {}", unreadable(text)))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// An instant that must be there.
    pub(super) fn required_time(&self, name: &str) -> Result<DateTime<Utc>, PromError> {
        let text = self.text(name).unwrap_or_default();
        parse_time(text).ok_or_else(|| PromError::parameter(name, unreadable(text)))
    }

    /// A duration; `None` if it is not given.
    pub(super) fn duration(&self, name: &str) -> Result<Option<TimeDelta>, PromError> {
        self.readable_duration(name).map_err(|why| PromError::parameter(name, why))
    }

    /// The same, for a caller with words of its own for what is wrong.
    pub(super) fn readable_duration(&self, name: &str) -> Result<Option<TimeDelta>, String> {
        let parse =
            |text| parse_duration(text).ok_or_else(|| format!("cannot parse \"{text}\" to a valid duration"));
        self.text(name).map(parse).transpose()
    }

    /// A duration that must be there and positive.
    pub(super) fn positive_duration(&self, name: &str) -> Result<TimeDelta, PromError> {
        let duration = self
            .duration(name)?
            .ok_or_else(|| PromError::parameter(name, "cannot parse \"\" to a valid duration"))?;
        if duration <= TimeDelta::zero() {
            let why =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(PromError::parameter(name, why));
        }
        Ok(duration)
    }
}

fn unreadable(text: &str) -> String {
    format!("cannot parse \"{text}\" to a valid timestamp")
}

/// Seconds since 1970, or RFC 3339. What lies further off than any calendar goes is as far off as
/// that; the ends of Prometheus's time have no place in RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    const ENDS: [&str; 2] = ["-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z"];
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() => return None,
        #[allow(clippy::cast_possible_truncation)] // it ends at the ends
        Ok(seconds) => {
            let millis = (seconds * 1_000.0).round() as i64;
            let known = millis.clamp(first.timestamp_millis(), last.timestamp_millis());
            return DateTime::from_timestamp_millis(known);
        }
        Err(_) if text == ENDS[0] => return Some(first),
        Err(_) if text.trim_start_matches(['+', ' ']) == ENDS[1] => return Some(last),
        Err(_) => {}
    }
    let repaired = text.replace(' ', "+");
    DateTime::parse_from_rfc3339(&repaired).ok().map(|time| time.to_utc())
}

/// Seconds, or units from years down to milliseconds, each at most once: `1h30m`.
pub(super) fn parse_duration(text: &str) -> Option<TimeDelta> {
    if let Ok(seconds) = text.parse::<f64>() {
        return TimeDelta::try_milliseconds(millis(seconds)?);
    }
    TimeDelta::from_std(monitoring_core::parse_duration(text)?).ok()
}

fn millis(seconds: f64) -> Option<i64> {
    const MAX: f64 = 9_223_372_036_854.0; // as many nanoseconds as Prometheus can count
    let millis = (seconds * 1_000.0).round();
    #[allow(clippy::cast_possible_truncation)] // it was just checked
    (millis.abs() < MAX).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_or_dates() {
        let time = |text| parse_time(text).map(|time| time.timestamp_millis());
        assert_eq!(time("1.5"), Some(1_500));
        assert_eq!(time("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(time("1970-01-01T01:00:01 01:00"), Some(1_000), "a plus that was not encoded");
        assert_eq!([time("NaN"), time("yesterday"), time("")], [None; 3]);
    }

    #[test]
    fn times_no_calendar_knows_are_as_far_off_as_one_goes() {
        let last = Some(DateTime::<Utc>::MAX_UTC.timestamp_millis());
        let time = |text| parse_time(text).map(|time| time.timestamp_millis());
        assert_eq!([time("1e30"), time("Inf"), time("+292277025-08-18T07:12:54.999999999Z")], [last; 3]);
        assert_eq!(parse_time("-292273086-05-16T16:47:06Z"), Some(DateTime::<Utc>::MIN_UTC));
        assert_eq!(
            parse_time("-1e13").map(|time| time.timestamp_millis()),
            Some(DateTime::<Utc>::MIN_UTC.timestamp_millis())
        );
    }

    #[test]
    fn durations_are_numbers_or_units() {
        let millis = |text| parse_duration(text).map(|duration| duration.num_milliseconds());
        assert_eq!(millis("15"), Some(15_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(
            [millis("30m1h"), millis("5"), millis("5q"), millis(""), millis("1m1m")],
            [None, Some(5_000), None, None, None]
        );
    }
}
