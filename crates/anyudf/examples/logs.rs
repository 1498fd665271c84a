//! A worker that reads lines of web servers' logs, which is slow in languages that take a line apart piece by piece.
//!
//! ```text
//! cargo build --release --example logs
//! anyudf functions --worker target/release/examples/logs
//! anyudf run --worker target/release/examples/logs --function parse_access --args line --as access --input lines.csv
//! ```
//!
//! The benchmark of the Python package runs it under Spark: `python/benches/spark.py`.

use std::process::ExitCode;

use anyudf::prelude::*;
use anyudf::worker::chrono::{DateTime, FixedOffset, NaiveDate, Utc};

/// A request, as a server has logged it.
#[derive(Debug, PartialEq, UdfStruct)]
struct Access<'a> {
    host: &'a str,
    at: DateTime<Utc>,
    method: &'a str,
    path: &'a str,
    status: i32,
    bytes: Option<i64>,
}

/// A line of an access log in the common or the combined format, taken apart; null for what is none.
#[udf(volatility = "immutable")]
fn parse_access(line: &str) -> Option<Access<'_>> {
    // 10.0.0.7 - ada [15/Jan/2001:08:12:31 +0000] "GET /index.html HTTP/1.1" 200 2326
    let (head, rest) = line.split_once('[')?;
    let (at, rest) = rest.split_once(']')?;
    let (request, rest) = rest.strip_prefix(" \"")?.split_once('"')?;
    let (host, _) = head.split_once(' ')?;
    let (method, target) = request.split_once(' ')?;
    let (path, _) = target.split_once(' ').unwrap_or((target, ""));
    let (status, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let bytes = match rest.split_once(' ').unwrap_or((rest, "")).0 {
        "-" => None,
        bytes => Some(bytes.parse().ok()?),
    };
    Some(Access { host, at: instant(at)?, method, path, status: status.parse().ok()?, bytes })
}

/// `15/Jan/2001:08:12:31 +0000`.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let name = text.get(3..6)?;
    let month = MONTHS.iter().position(|month| *month == name)? as u32 + 1;
    let date = NaiveDate::from_ymd_opt(number(7, 11)? as i32, month, number(0, 2)?)?;
    let local = date.and_hms_opt(number(12, 14)?, number(15, 17)?, number(18, 20)?)?;
    let east = (number(22, 24)? * 3600 + number(24, 26)? * 60) as i32;
    let zone = match text.get(21..22)? {
        "+" => FixedOffset::east_opt(east),
        "-" => FixedOffset::west_opt(east),
        _ => None,
    };
    Some(local.and_local_timezone(zone?).single()?.to_utc())
}

fn main() -> ExitCode {
    Worker::new().with(parse_access).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_and_what_is_no_line_is_null() {
        let at = NaiveDate::from_ymd_opt(2001, 1, 15).and_then(|date| date.and_hms_opt(7, 12, 31));
        let at = at.expect("a date").and_utc();
        let line = r#"10.0.0.7 - ada [15/Jan/2001:08:12:31 +0100] "GET /index.html HTTP/1.1" 200 2326 "-" "curl/8""#;
        let access =
            Access { host: "10.0.0.7", at, method: "GET", path: "/index.html", status: 200, bytes: Some(2326) };
        assert_eq!(parse_access(line), Some(access));
        let cached = r#"10.0.0.7 - - [15/Jan/2001:07:12:31 +0000] "GET / HTTP/1.1" 304 -"#;
        assert_eq!(parse_access(cached).map(|access| (access.at, access.bytes)), Some((at, None)));
        for none in ["", "-", "a b [15/Jan/2001:07:12:31 +0000] \"\" 200 1", &line.replace("Jan", "nFe"), &line[..40]] {
            assert_eq!(parse_access(none), None, "{none}");
        }
    }
}
