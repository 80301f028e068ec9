//! Parts of a date, which is given in seconds since 1970 and read in UTC.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// The function of this name, if it is about a date.
pub(super) fn by_name(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |time| part(time, |date| date.minute()),
        "hour" => |time| part(time, |date| date.hour()),
        "day_of_week" => |time| part(time, |date| date.weekday().num_days_from_sunday()),
        "day_of_month" => |time| part(time, |date| date.day()),
        "day_of_year" => |time| part(time, |date| date.ordinal()),
        "days_in_month" => |time| part(time, |date| u32::from(date.num_days_in_month())),
        "month" => |time| part(time, |date| date.month()),
        "year" => |time| date(time).map_or(f64::NAN, |date| f64::from(date.year())),
        _ => return None,
    })
}

fn part(time: f64, part: impl Fn(DateTime<Utc>) -> u32) -> f64 {
    date(time).map_or(f64::NAN, |date| f64::from(part(date)))
}

/// `None` for what is no date, such as NaN, or the year 300,000.
fn date(time: f64) -> Option<DateTime<Utc>> {
    if time.is_finite() { DateTime::from_timestamp(time as i64, 0) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_utc() {
        // 2024-02-29T13:37:59Z, a Thursday
        let of = |name: &str| by_name(name).unwrap()(1_709_213_879.0);
        assert_eq!((of("year"), of("month"), of("day_of_month")), (2024.0, 2.0, 29.0));
        assert_eq!((of("hour"), of("minute"), of("day_of_week")), (13.0, 37.0, 4.0));
        assert_eq!((of("day_of_year"), of("days_in_month")), (60.0, 29.0));
        assert!(by_name("year").unwrap()(f64::NAN).is_nan());
    }
}
