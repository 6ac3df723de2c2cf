//! Text and numbers as HTML.

const STYLE: &str = include_str!("style.css");

/// A page that needs nothing else, of a title that is text, rules beside the common ones, and a body that is HTML.
pub(crate) fn document(title: &str, rules: &str, body: &str) -> String {
    // The policy: should a name ever get past `escape`, it can still load and run nothing.
    with_policy("default-src 'none'; style-src 'unsafe-inline'", title, rules, body)
}

/// As [`document`], of a page that plays audio which lies beside it, on a disk or a server.
pub(crate) fn listening_document(title: &str, rules: &str, body: &str) -> String {
    with_policy("default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:", title, rules, body)
}

fn with_policy(policy: &str, title: &str, rules: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta http-equiv=Content-Security-Policy content=\"{policy}\">\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>{} – klang</title>\n<style>\n{STYLE}{rules}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// Text, safe between tags and within a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no way to say these.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

/// An error rate in per cent, as `klang score` shows it.
pub(crate) fn rate(rate: Option<f64>) -> String {
    match rate {
        Some(rate) if rate.is_finite() => format!("{:.2}\u{a0}%", rate * 100.0),
        _ => "undefined".into(),
    }
}

/// The interval of an error rate, in per cent; a dash for none.
pub(crate) fn interval(ends: Option<[f64; 2]>) -> String {
    match ends {
        Some([low, high]) if low.is_finite() && high.is_finite() => {
            format!("{:.2}–{:.2}", low * 100.0, high * 100.0)
        }
        _ => "–".into(),
    }
}

/// A share in per cent.
pub(crate) fn share(share: f64) -> String {
    if share.is_finite() { format!("{:.1}\u{a0}%", share * 100.0) } else { "–".into() }
}

/// A count, its digits in threes.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A duration in the two largest of its units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { return "–".into() };
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        86_400.. => format!("{days} d {hours} h"),
        3600.. => format!("{hours} h {minutes} min"),
        60.. => format!("{minutes} min {} s", whole % 60),
        _ => format!("{whole} s"),
    }
}

/// A table row of cells that are HTML already; the first is its heading.
pub(crate) fn row(cells: &[String]) -> String {
    let cell = |(index, cell): (usize, &String)| match index {
        0 => format!("<th scope=row>{cell}</th>"),
        _ => format!("<td>{cell}</td>"),
    };
    format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
}

/// A table's head, of plain text.
pub(crate) fn head(cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<th scope=col>{}</th>", escape(cell))).collect();
    format!("<thead><tr>{cells}</tr></thead>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_as_markup() {
        assert_eq!(escape("<script>\"a\" & 'b'\0"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
        assert_eq!(escape("Ümit\n\t日本"), "Ümit\n\t日本");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([rate(Some(0.12345)), rate(Some(2.0))], ["12.35\u{a0}%", "200.00\u{a0}%"]);
        assert_eq!([rate(None), rate(Some(f64::NAN))], ["undefined"; 2]);
        assert_eq!([interval(Some([0.1, 0.2345])), interval(None)], ["10.00–23.45", "–"]);
        assert_eq!([share(0.1234), share(f64::INFINITY)], ["12.3\u{a0}%", "–"]);
        assert_eq!([count(0), count(999), count(1000)], ["0", "999", "1\u{202f}000"]);
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        let durations = [0.4, 61.0, 3599.9, 7322.0, 200_000.0, f64::NAN].map(duration);
        assert_eq!(durations, ["0 s", "1 min 1 s", "1 h 0 min", "2 h 2 min", "2 d 7 h", "–"]);
    }
}
