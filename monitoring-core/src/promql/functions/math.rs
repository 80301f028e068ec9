//! Functions of one number, calculated in the steps of Go's `math` where the last bit may differ.

use std::f64::consts::{LOG2_E, LOG10_2, PI};

/// The function of this name, if it is one of a number alone.
pub(super) fn by_name(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => log2,
        "log10" => log10,
        "sgn" => sign,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => |value| value * 180.0 / PI,
        "rad" => |value| value * PI / 180.0,
        _ => return None,
    })
}

/// By way of the logarithm to the base of two.
fn log10(value: f64) -> f64 {
    log2(value) * LOG10_2
}

/// Exact for powers of two.
fn log2(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = bits >> 52;
    if exponent == 0 || exponent >= 0x7ff {
        return value.log2(); // less than normal, negative, infinite or no number
    }
    // Between a half and one.
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (0x3fe << 52));
    let exponent = exponent as f64 - 1_022.0;
    if fraction == 0.5 { exponent - 1.0 } else { fraction.ln() * LOG2_E + exponent }
}

/// Unlike `signum`, zero and NaN stay what they are.
fn sign(value: f64) -> f64 {
    if value == 0.0 || value.is_nan() { value } else { value.signum() }
}

/// To the nearest multiple of `to`; halves go up.
pub(crate) fn round(value: f64, to: f64) -> f64 {
    // Dividing by the inverse is more exact for fractions such as 0.1.
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

/// Within two bounds; NaN if a bound is.
pub(crate) fn clamp(value: f64, min: f64, max: f64) -> f64 {
    go_max(min, go_min(max, value))
}

/// Infinity wins over NaN, NaN over all else, and zero over negative zero.
fn go_max(a: f64, b: f64) -> f64 {
    match (a, b) {
        _ if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        _ => {
            if a > b {
                a
            } else {
                b
            }
        }
    }
}

/// The counterpart of [`go_max`].
fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LOG2_10;

    use super::*;

    #[test]
    fn bounds_win_over_what_is_no_number() {
        assert_eq!(go_max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!(go_min(f64::NEG_INFINITY, f64::NAN), f64::NEG_INFINITY);
        assert!(go_max(f64::NAN, 1.0).is_nan() && go_min(1.0, f64::NAN).is_nan());
        assert!(go_min(-0.0, 0.0).is_sign_negative() && go_max(-0.0, 0.0).is_sign_positive());
        assert_eq!((clamp(5.0, 1.0, 2.0), clamp(0.0, 1.0, 2.0), clamp(1.5, 1.0, 2.0)), (2.0, 1.0, 1.5));
    }

    #[test]
    fn logarithms_are_those_of_go() {
        assert_eq!((log2(8.0), log2(0.125), log2(10.0)), (3.0, -3.0, LOG2_10));
        assert_eq!((log10(100.0), log10(1_000.0), log10(0.001)), (2.0, 3.0, -3.0));
        assert_eq!((log10(0.0), log2(f64::INFINITY)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(log10(-1.0).is_nan() && log2(f64::NAN).is_nan());
    }
}
