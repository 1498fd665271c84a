//! Sizes and times as people write them.

use std::time::Duration;

/// A size: `65536`, `64KiB`, `4MiB`, `1GiB`; also `k`, `M`, `G`, `kB`, `MB`, `GB`, all of them powers of 1,024.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let scale: usize = match unit.to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit of size; write bytes, or a number with KiB, MiB or GiB")),
    };
    let number: usize = number.parse().map_err(|_| format!("`{number}` is no whole number"))?;
    number.checked_mul(scale).filter(|&size| size > 0).ok_or_else(|| "the size is zero or too large".into())
}

/// A time: `30` and `30s` are seconds; also `ms`, `m` and `h`, with a fraction if need be.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("`{unit}` is no unit of time; write seconds, or a number with ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    let time = Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(1) { Err("the time is less than 1 ms".into()) } else { Ok(time) }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// A size in its best unit, in at most four characters and a unit.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1_000.0 {
            let digits = if unit == "B" || size.fract() == 0.0 || size >= 100.0 { 0 } else { 1 };
            return format!("{size:.digits$} {unit}");
        }
        size /= 1_024.0;
    }
    format!("{size:.1} TiB")
}

/// A number with commas between thousands.
pub(crate) fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in [("1", 1), ("64KiB", 65_536), ("64k", 65_536), ("4 MiB", 4 << 20), ("1GB", 1 << 30)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "0", "x", "1.5MiB", "3 parsecs", "99999999999GiB", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [("30", 30_000), ("1.5s", 1_500), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "soon", "1 day", "1e400", "-1s", "99999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_counts_are_shown_short() {
        let sizes = [(0, "0 B"), (999, "999 B"), (16 << 10, "16 KiB"), (1 << 20, "1 MiB"), (1_500_000, "1.4 MiB")];
        for (size, text) in sizes {
            assert_eq!(show_bytes(size), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (3_000_000, "3,000,000")] {
            assert_eq!(show_count(number), text);
        }
    }
}
