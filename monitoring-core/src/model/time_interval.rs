//! Times of the week, the month or the year, as Alertmanager's `time_intervals` name them.
//!
//! Reference: <https://prometheus.io/docs/alerting/latest/configuration/#time_interval>.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike as _, Utc,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAY_MINUTES: u16 = 24 * 60;

/// Times that everything given applies to; what is absent, always applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TimeInterval {
    /// Times of the day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// Days of the week, such as `monday:friday`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub weekdays: Vec<WeekdayRange>,
    /// Days of the month, such as `1:5`, or `-3:-1` for the last three.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub days_of_month: Vec<MonthDayRange>,
    /// Months, such as `january:march` or `12`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub months: Vec<MonthRange>,
    /// Years, such as `2026:2028`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub years: Vec<YearRange>,
    /// The time zone it is meant in, such as `Europe/Berlin`; UTC if absent. `Local` is Alertmanager's word for
    /// that of its machine. Replicas may be in several, so it is refused unless this machine's is UTC, which is
    /// then what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub location: Option<Location>,
}

impl TimeInterval {
    /// Whether this time lies in it.
    #[must_use]
    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        let local = self.location.map_or_else(|| time.naive_utc(), |zone| zone.local(time));
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or(0);
        holds(&self.times, |range| range.contains(minute))
            && holds(&self.weekdays, |range| range.0.contains(weekday(local)))
            && holds(&self.days_of_month, |range| range.contains(local))
            && holds(&self.months, |range| range.0.contains(local.month().cast_signed()))
            && holds(&self.years, |range| range.0.contains(local.year()))
    }
}

fn holds<T>(ranges: &[T], contains: impl Fn(&T) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(contains)
}

fn weekday(time: NaiveDateTime) -> i32 {
    time.weekday().num_days_from_sunday().cast_signed()
}

/// A part of the day, from a minute up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// Its first minute, such as `09:00`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub start_time: DayMinute,
    /// The minute after its last, up to `24:00`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub end_time: DayMinute,
}

impl TimeRange {
    fn contains(&self, minute: u16) -> bool {
        self.start_time.0 <= minute && minute < self.end_time.0
    }
}

/// A minute of the day, written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayMinute(u16);

impl FromStr for DayMinute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "24:00" {
            return Ok(Self(DAY_MINUTES));
        }
        let is_full = text.len() == 5;
        let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| is_full);
        let minute = time.and_then(|time| u16::try_from(time.hour() * 60 + time.minute()).ok());
        minute.map(Self).ok_or_else(|| format!("{text:?} is no time of day; write it as 09:30, up to 24:00"))
    }
}

impl fmt::Display for DayMinute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// From one number to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: i32,
    last: i32,
}

impl Range {
    fn contains(self, number: i32) -> bool {
        self.first <= number && number <= self.last
    }

    /// `a:b` or `a`, each read by `parse`.
    fn read(text: &str, parse: impl Fn(&str) -> Option<i32>) -> Option<Self> {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Some(Self { first: parse(first.trim())?, last: parse(last.trim())? })
    }

    fn is_rising(&self) -> bool {
        self.first <= self.last
    }

    fn show(self, f: &mut fmt::Formatter<'_>, name: impl Fn(i32) -> String) -> fmt::Result {
        f.write_str(&name(self.first))?;
        if self.first == self.last { Ok(()) } else { write!(f, ":{}", name(self.last)) }
    }
}

/// Days of the week; the week begins on Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekdayRange(Range);

impl FromStr for WeekdayRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = Range::read(&text.to_ascii_lowercase(), |name| position(&WEEKDAYS, name));
        range.filter(Range::is_rising).map(Self).ok_or_else(|| {
            format!(
                "{text:?} are no days of the week; write them as monday:friday, the week begins on sunday"
            )
        })
    }
}

impl fmt::Display for WeekdayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, |day| WEEKDAYS[usize::try_from(day).unwrap_or(0)].to_owned())
    }
}

/// Days of the month; negative ones count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthDayRange(Range);

impl MonthDayRange {
    fn contains(self, time: NaiveDateTime) -> bool {
        let days = i32::from(time.num_days_in_month());
        let counted = |day: i32| if day < 0 { days + day + 1 } else { day };
        let (first, last) = (counted(self.0.first), counted(self.0.last));
        first <= days && Range { first, last }.contains(time.day().cast_signed())
    }
}

impl FromStr for MonthDayRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = |text: &str| text.parse().ok().filter(|day: &i32| *day != 0 && (-31..=31).contains(day));
        let makes_sense = |range: &Range| match (range.first < 0, range.last < 0) {
            (true, false) => false,
            // The fifth up to the last but two is empty in no month, the 31st up to the last but 31 in each.
            (false, true) => range.first <= 31 + range.last + 1,
            _ => range.is_rising(),
        };
        Range::read(text, day).filter(makes_sense).map(Self).ok_or_else(|| {
            format!("{text:?} are no days of the month; write them as 1:5, or -3:-1 for the last three")
        })
    }
}

impl fmt::Display for MonthDayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, |day| day.to_string())
    }
}

/// Months of the year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthRange(Range);

impl FromStr for MonthRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|month| (1..=12).contains(month));
        let month = |text: &str| position(&MONTHS, text).map(|month| month + 1).or_else(|| number(text));
        let range = Range::read(&text.to_ascii_lowercase(), month);
        range.filter(Range::is_rising).map(Self).ok_or_else(|| {
            format!("{text:?} are no months; write them as january:march or 1:3, within one year")
        })
    }
}

impl fmt::Display for MonthRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, |month| MONTHS[usize::try_from(month - 1).unwrap_or(0)].to_owned())
    }
}

/// Years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YearRange(Range);

impl FromStr for YearRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let year = |text: &str| text.parse().ok().filter(|year| (1..=9_999).contains(year));
        let range = Range::read(text, year).filter(Range::is_rising);
        range.map(Self).ok_or_else(|| format!("{text:?} are no years; write them as 2026:2028"))
    }
}

impl fmt::Display for YearRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, |year| year.to_string())
    }
}

/// A time zone by its IANA name; `Local` where that is UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location(chrono_tz::Tz);

impl Location {
    fn local(self, time: DateTime<Utc>) -> NaiveDateTime {
        time.with_timezone(&self.0).naive_local()
    }

    fn read(text: &str, is_here_utc: fn() -> bool) -> Result<Self, String> {
        match text.parse() {
            Ok(zone) => Ok(Self(zone)),
            Err(_) if text != "Local" => {
                Err(format!("{text:?} is no time zone known here; write it as UTC or Europe/Berlin"))
            }
            Err(_) if is_here_utc() => Ok(Self(chrono_tz::UTC)),
            Err(_) => {
                let why = "\"Local\" would be the zone of whichever machine it is asked on";
                Err(format!("{why}; name the one you mean, such as Europe/Berlin"))
            }
        }
    }
}

/// Whether this machine's time zone is UTC, in winter and in summer.
fn is_here_utc() -> bool {
    [1, 7].into_iter().all(|month| {
        let day = NaiveDate::from_ymd_opt(2026, month, 1).expect("there is such a day");
        Local.offset_from_utc_datetime(&day.into()).local_minus_utc() == 0
    })
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, is_here_utc)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

fn position(names: &[&str], name: &str) -> Option<i32> {
    names.iter().position(|known| *known == name).and_then(|at| i32::try_from(at).ok())
}

macro_rules! written_as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

written_as_text!(DayMinute, WeekdayRange, MonthDayRange, MonthRange, YearRange, Location);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn interval(json: Value) -> TimeInterval {
        let interval: TimeInterval = serde_json::from_value(json.clone()).unwrap();
        let again = serde_json::from_value(serde_json::to_value(&interval).unwrap()).unwrap();
        assert_eq!(interval, again, "{json}");
        interval
    }

    fn contains(json: Value, time: &str) -> bool {
        interval(json).contains(time.parse().unwrap())
    }

    #[test]
    fn an_end_is_the_first_minute_past_it() {
        let nine_to_five = || json!({"times": [{"start_time": "09:00", "end_time": "17:00"}]});
        assert!(!contains(nine_to_five(), "2026-06-15T08:59:59Z"));
        assert!(contains(nine_to_five(), "2026-06-15T09:00:00Z"));
        assert!(contains(nine_to_five(), "2026-06-15T16:59:59Z"));
        assert!(!contains(nine_to_five(), "2026-06-15T17:00:00Z"));
        let evening = json!({"times": [{"start_time": "22:00", "end_time": "24:00"}]});
        assert!(contains(evening, "2026-06-15T23:59:59Z"));
    }

    #[test]
    fn days_and_months_are_ranges() {
        let weekend = || json!({"weekdays": ["saturday", "Sunday"]});
        assert!(contains(weekend(), "2026-06-14T12:00:00Z"));
        assert!(!contains(weekend(), "2026-06-15T12:00:00Z"));
        assert!(contains(json!({"weekdays": ["monday:friday"]}), "2026-06-15T12:00:00Z"));
        assert!(contains(json!({"months": ["may:june"], "years": ["2026"]}), "2026-06-15T12:00:00Z"));
        assert!(!contains(json!({"months": ["7:12"]}), "2026-06-15T12:00:00Z"));
        assert!(!contains(json!({"years": ["2027:2030"]}), "2026-06-15T12:00:00Z"));
    }

    #[test]
    fn negative_days_count_from_the_end_of_the_month() {
        let last_three = || json!({"days_of_month": ["-3:-1"]});
        assert!(contains(last_three(), "2026-02-26T00:00:00Z"));
        assert!(!contains(last_three(), "2026-02-25T23:59:00Z"));
        assert!(contains(last_three(), "2028-02-27T00:00:00Z"), "a leap year");
        // Days that a month has not are no days of the next one.
        assert!(!contains(json!({"days_of_month": ["30:31"]}), "2026-02-28T00:00:00Z"));
        assert!(contains(json!({"days_of_month": ["5:-1"]}), "2026-02-28T00:00:00Z"));
    }

    #[test]
    fn the_clock_of_a_place_follows_its_summer_time() {
        let office =
            || json!({"times": [{"start_time": "09:00", "end_time": "10:00"}], "location": "Europe/Berlin"});
        assert!(contains(office(), "2026-06-15T07:30:00Z"));
        assert!(!contains(office(), "2026-06-15T08:30:00Z"));
        assert!(contains(office(), "2026-01-15T08:30:00Z"));
    }

    #[test]
    fn the_zone_of_the_machine_is_taken_if_it_is_utc() {
        assert_eq!(Location::read("Local", || true), "UTC".parse::<Location>());
        let refused = Location::read("Local", || false).unwrap_err();
        assert!(refused.contains("name the one you mean, such as Europe/Berlin"), "{refused}");
        assert!(Location::read("local", || true).is_err(), "that is no name in Alertmanager either");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (json, part) in [
            (json!({"times": [{"start_time": "9:00", "end_time": "10:00"}]}), "09:30"),
            (json!({"times": [{"start_time": "09:00", "end_time": "24:01"}]}), "24:00"),
            (json!({"weekdays": ["friday:monday"]}), "monday:friday"),
            (json!({"days_of_month": ["0"]}), "-3:-1"),
            (json!({"days_of_month": ["-1:5"]}), "-3:-1"),
            (json!({"days_of_month": ["31:-31"]}), "-3:-1"),
            (json!({"months": ["13"]}), "january:march"),
            (json!({"years": ["2028:2026"]}), "2026:2028"),
            (json!({"location": "Berlin"}), "Europe/Berlin"),
            (json!({"weekday": ["monday"]}), "unknown field"),
        ] {
            let error = serde_json::from_value::<TimeInterval>(json.clone()).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
