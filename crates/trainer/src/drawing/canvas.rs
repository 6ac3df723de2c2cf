//! A drawing in SVG that carries its own colours: as a file, no style sheet reaches it, and its page may be dark.

use super::look::{Look, Marker};
use crate::run::report::escape;

/// What is to be read.
pub(crate) const INK: &str = "#1b1f24";
/// What explains it.
pub(crate) const SOFT: &str = "#565e69";
/// Lines behind it.
pub(crate) const GRID: &str = "#dfe3e8";

/// Where a text begins from its place.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing.
pub(crate) struct Svg {
    width: f64,
    height: f64,
    /// What it shows, for whoever cannot see it; plain text.
    label: String,
    body: String,
}

impl Svg {
    /// A white sheet.
    pub(crate) fn new(width: f64, height: f64, label: String) -> Svg {
        Svg { width, height, label, body: String::new() }
    }

    /// The drawing as an element of an HTML page.
    pub(crate) fn inline(&self) -> String {
        self.element("")
    }

    /// The drawing as a file.
    pub(crate) fn file(&self) -> String {
        self.element(" xmlns=\"http://www.w3.org/2000/svg\"")
    }

    fn element(&self, namespace: &str) -> String {
        let Svg { width, height, label, body } = self;
        format!(
            "<svg{namespace} viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <g font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\" font-size=\"11\">\n{body}</g>\n</svg>\n",
            xml(label)
        )
    }

    /// Elements as they are.
    pub(crate) fn push(&mut self, elements: &str) {
        self.body += elements;
    }

    /// A solid line.
    pub(crate) fn line(&mut self, from: [f64; 2], to: [f64; 2], colour: &str, width: f64) {
        self.body += &format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n",
            from[0], from[1], to[0], to[1]
        );
    }

    /// A line through points, in a series' look.
    pub(crate) fn curve(&mut self, points: &[[f64; 2]], look: &Look) {
        let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let dash = if look.dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{}\"", look.dash) };
        self.body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dash}/>\n",
            points.join(" "),
            look.colour
        );
    }

    /// A series' marker, hollow or filled.
    pub(crate) fn marker(&mut self, at: [f64; 2], look: &Look, filled: bool) {
        let shape = match look.marker {
            Marker::Circle => "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
            Marker::Square => "M-3.7-3.7h7.4v7.4h-7.4z",
            Marker::Up => "M0-4.9l4.7 8.2h-9.4z",
            Marker::Diamond => "M0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z",
            Marker::Down => "M0 4.9l4.7-8.2h-9.4z",
            Marker::Cross => "M-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
        };
        self.body += &format!(
            "<path class=\"{}\" transform=\"translate({:.1} {:.1})\" d=\"{shape}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
            if filled { "filled" } else { "hollow" },
            at[0],
            at[1],
            if filled { look.colour } else { "#fff" },
            look.colour
        );
    }

    /// Plain text.
    pub(crate) fn text(&mut self, at: [f64; 2], anchor: Anchor, colour: &str, text: &str) {
        self.words(at, anchor, &format!("fill=\"{colour}\""), &xml(text));
    }

    /// Plain text that stands out.
    pub(crate) fn strong(&mut self, at: [f64; 2], anchor: Anchor, text: &str) {
        self.words(at, anchor, &format!("fill=\"{INK}\" font-weight=\"600\""), &xml(text));
    }

    /// Plain text that may be long: what does not fit into `room` is cut, and shown whole where the pointer rests.
    pub(crate) fn fitted(&mut self, at: [f64; 2], anchor: Anchor, colour: &str, text: &str, room: f64) {
        let short = shortened(text, room);
        let whole = if short == text { String::new() } else { format!("<title>{}</title>", xml(text)) };
        self.words(at, anchor, &format!("fill=\"{colour}\""), &(xml(&short) + &whole));
    }

    fn words(&mut self, at: [f64; 2], anchor: Anchor, attributes: &str, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.body += &format!("<text x=\"{:.1}\" y=\"{:.1}\"{anchor} {attributes}>{content}</text>\n", at[0], at[1]);
    }
}

/// Text, safe in XML, which has no way to say the last two characters of a plane either.
fn xml(text: &str) -> String {
    escape(&text.replace(['\u{fffe}', '\u{ffff}', '\n'], " "))
}

/// About how wide a text is at the size of drawings: fonts differ, so rather too much than too little.
pub(crate) fn width(text: &str) -> f64 {
    let one = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 4.0,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 10.5,
        'A'..='Z' => 8.3,
        '\u{1100}'.. => 11.5,
        _ => 6.9,
    };
    text.chars().map(one).sum()
}

fn shortened(text: &str, room: f64) -> String {
    if width(text) <= room {
        return text.into();
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short) > room - 11.0 {
            short.pop();
            break;
        }
    }
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut svg = Svg::new(10.0, 10.0, "<a \"b\">".into());
        svg.text([0.0; 2], Anchor::Start, INK, "<script>\u{ffff}");
        svg.fitted([0.0; 2], Anchor::End, INK, &"<b>".repeat(9), 40.0);
        let file = svg.file();
        assert!(
            file.contains("aria-label=\"&lt;a &quot;b&quot;&gt;\"") && file.contains(">&lt;script&gt; <"),
            "{file}"
        );
        assert!(!file.contains("<b>") && !file.contains("<script"), "{file}");
        assert!(file.contains("xmlns=") && !svg.inline().contains("xmlns"));
    }

    #[test]
    fn long_names_are_cut_to_their_room() {
        assert_eq!(shortened("abc", 21.0), "abc");
        // Each of the letters is 6.9 wide; the ellipsis takes 11 of 40.
        assert_eq!(shortened("abcdefgh", 40.0), "abcd…");
    }
}
