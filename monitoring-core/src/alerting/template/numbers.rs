//! Numbers as Go writes them (`strconv.FormatFloat`).

/// `%v` of a float: the fewest digits that mean it, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn shortest(number: f64) -> String {
    const EXPONENT_FROM: i32 = 6;
    general(number, None, EXPONENT_FROM)
}

/// `%.*g`: so many significant digits, without zeros at the end.
pub(super) fn significant(number: f64, digits: usize) -> String {
    general(number, Some(digits.max(1)), i32::MAX)
}

/// `%e`: with so many digits behind the point.
pub(super) fn scientific(number: f64, decimals: usize) -> String {
    not_finite(number).map_or_else(|| with_exponent(&format!("{number:.decimals$e}")), str::to_owned)
}

/// `%f`: with so many digits behind the point.
pub(super) fn fixed(number: f64, decimals: usize) -> String {
    not_finite(number).map_or_else(|| format!("{number:.decimals$}"), str::to_owned)
}

fn general(number: f64, digits: Option<usize>, exponent_from: i32) -> String {
    if let Some(text) = not_finite(number) {
        return text.to_owned();
    }
    let written = digits.map_or_else(|| format!("{number:e}"), |digits| format!("{number:.*e}", digits - 1));
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let kept = mantissa.chars().filter(char::is_ascii_digit).count();
    let limit = match digits {
        // Of a whole number with fewer digits than wanted all places count.
        Some(digits) if digits > kept && i32::try_from(kept).is_ok_and(|kept| kept > exponent) => {
            i32::try_from(kept).unwrap_or(i32::MAX)
        }
        Some(digits) => i32::try_from(digits).unwrap_or(i32::MAX),
        None => exponent_from,
    };
    if exponent < -4 || exponent >= limit {
        return with_exponent(&format!("{mantissa}e{exponent}"));
    }
    let behind_the_point =
        usize::try_from(i32::try_from(kept).unwrap_or(i32::MAX) - 1 - exponent).unwrap_or(0);
    let rounded: f64 = format!("{mantissa}e{exponent}").parse().unwrap_or(number);
    format!("{rounded:.behind_the_point$}")
}

/// Go gives an exponent a sign and at least two digits.
fn with_exponent(written: &str) -> String {
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn not_finite(number: f64) -> Option<&'static str> {
    match number {
        number if number.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_go_shows_it() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (12_345_678.5, "1.23456785e+07"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-123_456.75, "-123456.75"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, shown) in cases {
            assert_eq!(shortest(number), shown);
        }
    }

    #[test]
    fn significant_digits_are_those_of_percent_g() {
        let cases = [
            (0.0, "0"),
            (100.0, "100"),
            (1234.5678, "1235"),
            (12345.0, "1.234e+04"),
            (99999.0, "1e+05"),
            (0.000_012_345, "1.234e-05"),
            (1.5, "1.5"),
            (999.96, "1000"),
        ];
        for (number, shown) in cases {
            assert_eq!(significant(number, 4), shown, "{number}");
        }
    }
}
