//! Go's duration syntax, for the settle annotation and for flags.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// Go counts nanoseconds in a signed 64-bit number: 292 years.
const MAX_NANOS: u64 = i64::MAX as u64;
/// Further digits of a fraction are worth less than a nanosecond, even of an hour.
const FRACTION_DIGITS: usize = 18;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum DurationError {
    /// Nothing there, a space, a sign in the middle.
    #[error("not a duration; write numbers with units, such as 300ms, 10s, 1.5h or 1h30m")]
    Syntax,
    /// A bare number other than 0.
    #[error("a unit is missing; write one of ns, us, ms, s, m, h after each number, such as 10s")]
    MissingUnit,
    /// Days, for example.
    #[error("unknown unit; the units are ns, us, ms, s, m, h, such as 10s or 1h30m")]
    UnknownUnit,
    /// More than 292 years.
    #[error("too long; a duration is at most 292 years")]
    Overflow,
    /// Go accepts it, but no setting has a use for it.
    #[error("negative; write 0 or a positive duration such as 10s")]
    Negative,
}

/// Parses what Go's `time.ParseDuration` accepts, negative durations excepted.
///
/// A fraction is cut off below a nanosecond; Go rounds it in floating point, which can differ by one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (nanos, after) = parse_term(rest)?;
        total = within_range(total.checked_add(nanos))?;
        rest = after;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative);
    }
    Ok(Duration::from_nanos(total))
}

/// Parses the first number with its unit.
fn parse_term(text: &str) -> Result<(u64, &str), DurationError> {
    let (whole, after) = split_where(text, |c| !c.is_ascii_digit());
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => split_where(after, |c| !c.is_ascii_digit()),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Syntax);
    }
    let (unit, after) = split_where(after, |c| c == '.' || c.is_ascii_digit());
    let scale = nanos_per(unit)?;
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() {
        Some(0)
    } else {
        whole.parse().ok()
    };
    let nanos = whole
        .and_then(|whole: u64| whole.checked_mul(scale))
        .and_then(|nanos| nanos.checked_add(fraction_nanos(fraction, scale)));
    Ok((within_range(nanos)?, after))
}

fn nanos_per(unit: &str) -> Result<u64, DurationError> {
    Ok(match unit {
        "ns" => 1,
        // The micro sign, and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "" => return Err(DurationError::MissingUnit),
        _ => return Err(DurationError::UnknownUnit),
    })
}

fn fraction_nanos(digits: &str, scale: u64) -> u64 {
    let (numerator, denominator) = digits
        .bytes()
        .take(FRACTION_DIGITS)
        .fold((0_u128, 1_u128), |(n, d), digit| {
            (n * 10 + u128::from(digit - b'0'), d * 10)
        });
    u64::try_from(numerator * u128::from(scale) / denominator).unwrap_or(scale)
}

fn within_range(nanos: Option<u64>) -> Result<u64, DurationError> {
    nanos
        .filter(|nanos| *nanos <= MAX_NANOS)
        .ok_or(DurationError::Overflow)
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.find(end)
        .and_then(|at| text.split_at_checked(at))
        .unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_what_go_accepts() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("-0s", 0),
            ("0.000000000001ns", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.0s", 1_000_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("14s", 14_000_000_000),
            ("15m", 900_000_000_000),
            ("16h", 57_600_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("00000000000000000000001s", 1_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("9223372036.854775807s", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn says_why_not() {
        use DurationError::{MissingUnit, Negative, Overflow, Syntax, UnknownUnit};
        for (text, error) in [
            ("", Syntax),
            ("-", Syntax),
            (".", Syntax),
            (".s", Syntax),
            ("+.s", Syntax),
            ("s", Syntax),
            (" 1s", Syntax),
            ("+-1s", Syntax),
            ("3", MissingUnit),
            ("1h30", MissingUnit),
            ("00", MissingUnit),
            ("1d", UnknownUnit),
            ("1 s", UnknownUnit),
            ("1s ", UnknownUnit),
            ("1S", UnknownUnit),
            ("1h-30m", UnknownUnit),
            ("9223372036854775808ns", Overflow),
            ("9223372036854ms775us808ns", Overflow),
            ("99999999999999999999s", Overflow),
            ("3000000h", Overflow),
            ("-5s", Negative),
            ("-1d", UnknownUnit),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+0-9.nuµmsh ]{0,40}|\\PC{0,20}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn reads_what_it_is_given(hours in 0_u32..1000, minutes in 0_u32..60, millis in 0_u32..60_000) {
            let expected = Duration::from_millis(
                u64::from(hours) * 3_600_000 + u64::from(minutes) * 60_000 + u64::from(millis),
            );
            prop_assert_eq!(parse_duration(&format!("{hours}h{minutes}m{millis}ms")), Ok(expected));
        }
    }
}
